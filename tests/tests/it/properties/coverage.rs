use std::collections::BTreeMap;
use std::fmt;

use sluice::adapter::{CallEnd, End};

/// What became of the requests that an adapter was given.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    pub(super) cases: usize,
    /// Mutations of fixtures that became events.
    pub(super) mutations_made: usize,
    arbitrary_made: usize,
    without_events: usize,
    redacted: usize,
    events: BTreeMap<String, usize>,
    rejections: BTreeMap<String, usize>,
}

impl Coverage {
    pub(super) fn count(&mut self, arbitrary: bool, ended: &CallEnd, verified: bool) {
        self.cases += 1;
        self.redacted += usize::from(ended.masked.is_some());
        match &ended.end {
            End::Outcome(_) if !verified => self.rejected("unverified"),
            End::Outcome(outcome) if outcome.events.is_empty() => self.without_events += 1,
            End::Outcome(outcome) => {
                let made =
                    if arbitrary { &mut self.arbitrary_made } else { &mut self.mutations_made };
                *made += 1;
                for event in &outcome.events {
                    *self.events.entry(event.kind.clone()).or_default() += 1;
                }
            }
            End::Rejection(why) => {
                let why = format!("{} {}", why.status, why.diagnosis);
                self.rejected(&why);
            }
            End::Trap(_) | End::Deadline => unreachable!("these are failures"),
        }
    }

    fn rejected(&mut self, why: &str) {
        *self.rejections.entry(why.to_owned()).or_default() += 1;
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, mutations_made, arbitrary_made, without_events, redacted, .. } = self;
        writeln!(
            f,
            "  {cases} cases: {mutations_made} mutations and {arbitrary_made} others became events, \
             {without_events} outcomes without, {redacted} redacted"
        )?;
        for (what, counts) in [("events", &self.events), ("rejections", &self.rejections)] {
            writeln!(f, "  {what}")?;
            for (name, count) in counts {
                writeln!(f, "  {count:>10}  {name}")?;
            }
        }
        Ok(())
    }
}
