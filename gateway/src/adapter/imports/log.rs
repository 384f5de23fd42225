//! `log`: lines for the operator's log.

use crate::adapter::host::{Breach, Host, Subject};
use crate::adapter::log_budget::Line;
use crate::adapter::text::tame;
use crate::adapter::v1::sluice::adapter::log;
use crate::telemetry::Happening as _;
use crate::telemetry::adapter::{AdapterLogDropped, AdapterLogged, GuestLevel};

/// Longest line kept, in bytes; the rest is cut off.
const LINE_BYTES_MAX: usize = 1 << 10;

impl log::Host for Host {
    fn write(&mut self, level: String, message: String) -> wasmtime::Result<()> {
        self.count_host_call()?;
        self.spend_log_line(message.len())?;
        let level = GuestLevel::parse(&level).ok_or_else(|| {
            Breach::error("log.write: a level is `error`, `warn`, `info` or `debug`")
        })?;
        let line = tame(&message, LINE_BYTES_MAX);
        if matches!(level, GuestLevel::Error) {
            self.last_error = Some(line.clone());
        }
        match self.subject {
            // Until the call has ended nobody knows whether it read what is to be masked.
            Subject::Receive(_) if !self.configuring => self.lines.push((level, line)),
            Subject::Loading(_) | Subject::Receive(_) | Subject::Other(..) => {
                self.write_line(level, line);
            }
        }
        Ok(())
    }
}

impl Host {
    /// Writes what the call has logged so far.
    pub(in crate::adapter) fn write_lines(&mut self) {
        for (level, line) in std::mem::take(&mut self.lines) {
            self.write_line(level, line);
        }
    }

    fn write_line(&self, level: GuestLevel, line: String) {
        let plugin = &self.shared.version;
        match self.shared.log.take() {
            Line::Dropped { is_first } => AdapterLogDropped { plugin, is_first }.emit(),
            Line::Written => {
                let call = self.exported().as_str();
                AdapterLogged { plugin, call, level, line }.emit();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use log::Host as _;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::adapter::budget::Budget;
    use crate::adapter::host::{Exported, Shared};
    use crate::adapter::log_budget::LINES_PER_SECOND;
    use crate::model::{PluginName, PluginVersion};

    #[test]
    fn calls_of_one_adapter_share_what_they_may_log_and_the_rest_is_counted() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let shared = Arc::new(Shared::of(PluginVersion {
            plugin: PluginName::new("chatty").unwrap(),
            version: "1.0.0".to_owned(),
            digest: String::new(),
        }));
        let (calls, lines) = (20, 500);
        metrics::with_local_recorder(&recorder, || {
            for _ in 0..calls {
                let subject = Subject::Loading(Exported::Describe);
                let mut host =
                    Host::new(Arc::clone(&shared), subject, 0, Budget::new(Duration::ZERO));
                for _ in 0..lines {
                    host.write("info".to_owned(), "again".to_owned()).unwrap();
                }
            }
        });
        let metrics = recorder.handle().render();
        let count = |name: &str| -> u32 {
            let series = format!("{name}{{plugin=\"chatty\"}} ");
            let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
            line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
        };
        let written = count("sluice_adapter_log_lines_total");
        let dropped = count("sluice_adapter_log_lines_dropped_total");
        assert_eq!(written + dropped, calls * lines);
        // On a slow machine the calls may take several seconds.
        assert!((LINES_PER_SECOND..calls * lines / 2).contains(&written), "{written}");
    }
}
