//! Every fixture, run natively, and what must hold of whatever is sent.

use payout_matcher::PayoutMatcher;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

#[test]
fn every_fixture_natively() {
    plugin_sdk::testing::fixture::assert_native::<PayoutMatcher>(FIXTURES);
}

/// Whatever is sent, the adapter answers within the contract.
mod laws {
    use plugin_sdk::testing::{Request, Script, receive};
    use proptest::prelude::*;

    use super::*;

    fn script(request: Request, settings: serde_json::Value) -> Script {
        Script { request, settings, auth_none: true, ..Script::default() }
    }

    proptest! {
        #[test]
        fn any_request_leaves_an_answer_within_the_contract(
            query in prop::option::of("[a-z_=&%+0-9\\[\\]{}.,$-]{0,80}"),
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..120),
                "[{\\[\"a-z_:=&%0-9\\]},. ]{0,120}".prop_map(String::into_bytes),
            ],
            calls in any::<bool>(),
        ) {
            let receives = if calls { "calls" } else { "payouts" };
            let request = Request { query, body, ..Request::default() };
            let run = receive::<PayoutMatcher>(&script(request, serde_json::json!({ "receives": receives })));
            prop_assert!(run.is_ok(), "{:?}", run);
        }

        /// What is sent as JSON stays in the event, to the last digit and space.
        #[test]
        fn the_original_is_kept(value in "-?[1-9][0-9]{0,30}(\\.[0-9]{1,9})?", text in "[^\"\\\\\\x00-\\x1f]{0,20}") {
            let body = format!("{{\"payout\" :  {value}, \"x\":\"{text}\" , \"x\":null}}");
            let request = Request { body: body.clone().into_bytes(), ..Request::default() };
            let run = receive::<PayoutMatcher>(&script(request, serde_json::json!({}))).unwrap();
            let outcome = run.end.unwrap();
            let kept = format!("\"original\":{body}}}");
            prop_assert!(outcome.event_data().all(|data| data.ends_with(&kept)));
        }
    }
}
