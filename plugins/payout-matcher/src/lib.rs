//! Payouts that buyers of calls report, matched to the calls.
//!
//! What is verified, the settings, how a call is found and the quirks are in the README.

#![forbid(unsafe_code)]

mod amount;
mod balance;
mod call;
mod duration;
mod event;
mod history;
mod matching;
mod members;
mod payout;
mod phone;
mod register;
mod report;
mod settings;
mod tables;
mod view;

use plugin_sdk::{
    Adapter, DeliveredEvent, Description, Inbound, Outcome, PausedAnswer, Rejection, Travels,
    register_adapter, settings::Problem, verify_header, view::Page,
};

pub use event::{Data, Publisher, Reported};
pub use matching::Strategy;
pub use phone::Phone;
pub use settings::{Assignment, CallPaths, Campaign, Fields, Names, Number, Receives, Settings};
pub use view::{Calls, Payouts};

use settings::{DEFAULT_SECRET_HEADER, PAYTIA_CALL_ENDED};

/// What is kept in the state. To be raised where it no longer reads the same.
const STATE_VERSION: u32 = 1;

/// A buyer that is told anything but 200 keeps sending; so the source document has it.
const PAUSED: &str = r#"{"ok":false,"reason":"endpoint disabled"}"#;

/// The adapter.
#[derive(Debug)]
pub struct PayoutMatcher;

register_adapter!(PayoutMatcher);

impl Adapter for PayoutMatcher {
    type Settings = Settings;

    fn describe() -> Description {
        let about = Description::new(
            "payout-matcher",
            env!("CARGO_PKG_VERSION"),
            "Payouts that buyers report, matched to calls, and what publishers earn of them",
        );
        event::ALL
            .iter()
            .fold(about, |about, (kind, summary)| about.event::<Data<'static>>(kind, summary))
            .methods(&["GET", "POST"])
            .optional_secret(
                "shared_secret",
                Travels::header(DEFAULT_SECRET_HEADER).named_by("secret_header"),
                "Value of the header that the buyer sends with every report",
            )
            .paused_answer(PausedAnswer {
                status: 200,
                headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
                body: PAUSED.to_owned(),
            })
            .state_version(STATE_VERSION)
            .consumes(PAYTIA_CALL_ENDED)
            .consumes_named_by("call_events")
            .view::<Calls>(view::CALLS_VIEW, "Calls, the last first")
            .view::<Page>(view::PUBLISHERS_VIEW, "Publishers and what they are owed")
            .view::<Page>(view::UNMATCHED_VIEW, "Reports that matched no call, the last first")
            .view::<Payouts>(view::PAYOUTS_VIEW, "The reports that were believed of one call")
            .fact("status", "Status")
            .fact("caller", "Caller")
            .fact("duration", "Duration")
            .fact("payout", "Payout")
            .fact("call", "Call")
            .fact("number", "Call's number")
            .fact("strategy", "Matched by")
            .fact("reason", "Reason")
            .fact("fields", "Fields")
            .fact("registered", "Registered")
            .fact("refused", "Refused")
            .fact("unread", "Not read")
    }

    fn check(settings: &Settings) -> Vec<Problem> {
        settings.check()
    }

    fn check_route(own: &Settings, route: &Settings) -> Vec<Problem> {
        own.check_route(route)
    }

    fn receive(settings: &Settings, inbound: &Inbound) -> Result<Outcome, Rejection> {
        verify_header("shared_secret").or_refuse()?;
        match settings.receives {
            Receives::Payouts => payout::receive(settings, inbound),
            Receives::Calls => register::receive(settings, inbound),
        }
    }

    fn consume(settings: &Settings, event: &DeliveredEvent) -> Result<Outcome, Rejection> {
        register::consume(settings, event)
    }

    fn view(settings: &Settings, name: &str, parameters: &str) -> Result<String, Rejection> {
        view::answer(settings, name, parameters)
    }
}
