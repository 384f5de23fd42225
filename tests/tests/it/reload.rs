//! Promise 8: a request uses one configuration, a refused reload changes nothing, and an accepted
//! one drops no request and closes no connection.

mod load;
mod rebuild;
mod refused;
mod triggers;

use serde_json::Value;
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{Gateway, Home, HomeBuilder, artifact};

/// A gateway's home with the VKYC route and a folder for further ones.
fn home() -> Home {
    home_of(HomeBuilder::new())
}

/// The same with what `builder` has already.
fn home_of(builder: HomeBuilder) -> Home {
    builder
        .include("routes/*.toml")
        .vkyc(&["events"])
        .unwrap()
        .guest("hostile")
        .unwrap()
        .secret("hostile-secret", HOSTILE_SECRET)
        .events_file()
        .build()
        .unwrap()
}

const HOSTILE_SECRET: &str = "canary-hostile-77a2c0ffee52d1f7";

/// A second provider as one file.
fn hostile_route(marker: &str) -> String {
    format!(
        "[routes.hostile]\npath = \"/hooks/hostile\"\nplugin = \"hostile\"\n\
         secrets = {{ shared = \"hostile-secret\" }}\ndeliver_to = [\"events\"]\n\
         settings = {{ marker = \"{marker}\" }}\n"
    )
}

/// The hostile guest as another version of itself; all versions are equally long.
fn hostile_version(version: &str) -> Vec<u8> {
    const BUILT: &[u8] = b"\"version\": \"1.2.3\"";
    let other = format!("\"version\": \"{version}\"");
    assert_eq!(other.len(), BUILT.len());
    let mut bytes = artifact("hostile").unwrap();
    let starts: Vec<usize> = bytes
        .windows(BUILT.len())
        .enumerate()
        .filter(|(_, window)| *window == BUILT)
        .map(|(start, _)| start)
        .collect();
    assert!(!starts.is_empty(), "the guest's version is not in it");
    for start in starts {
        bytes[start..start + other.len()].copy_from_slice(other.as_bytes());
    }
    bytes
}

async fn accepts(gateway: &Gateway, id: &str) {
    let answer = gateway.post_vkyc(vkyc_payload(id)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn is(record: &Value, trigger: &str, result: &str) -> bool {
    record["trigger"] == trigger && record["result"] == result
}
