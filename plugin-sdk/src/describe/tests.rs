use super::*;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/describe.schema.json");

/// `BLESS=1` writes the file instead.
#[test]
fn the_published_schema_is_that_of_the_type() {
    let schema = crate::event_schema::output_schema::<Description>();
    let now = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(COMMITTED, &now).unwrap();
    }
    assert_eq!(std::fs::read_to_string(COMMITTED).unwrap(), now);
}

#[test]
fn the_json_is_what_the_gateway_reads() {
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Data {
        a: u8,
    }
    let description = Description::new("demo", "1.2.3", "A demo.")
        .methods(&["GET", "POST"])
        .event::<Data>("com.example.made", "Made.")
        .settings::<Data>()
        .required_secret("key", Travels::Key, "The key.")
        .optional_secret("header", Travels::header("x-a").named_by("header").after("Bearer "), "H.")
        .secret_unless("old", Travels::Key, "O.", SettingIs::new("signed.old", "no"))
        .secret_with("mac", Travels::Key, "M.", "signed.mac")
        .state_version(2)
        .redacts()
        .consumes("com.example.other")
        .consumes_named_by("more.events")
        .fact("kind", "Kind");
    let json: serde_json::Value = serde_json::from_str(&description.to_json()).unwrap();
    assert_eq!(json["events"][0]["type"], "com.example.made");
    assert_eq!(json["events"][0]["schema"]["properties"]["original"]["type"], "object");
    assert_eq!(
        json["secrets"],
        serde_json::json!([
            { "role": "key", "required": true, "summary": "The key.", "travels": { "in": "key" } },
            { "role": "header", "required": false, "summary": "H.", "travels":
                { "in": "header", "name": "x-a", "prefix": "Bearer ", "setting": "header" } },
            { "role": "old", "required": true, "unless": { "setting": "signed.old", "is": "no" },
                "summary": "O.", "travels": { "in": "key" } },
            { "role": "mac", "required": false, "with": "signed.mac", "summary": "M.",
                "travels": { "in": "key" } },
        ])
    );
    assert_eq!(json["state_version"], 2);
    assert_eq!(json["redacts"], true);
    assert_eq!(json["consumes"], serde_json::json!(["com.example.other"]));
    assert_eq!(json["consumes_named_by"], "more.events");
    assert!(json.get("paused_answer").is_none());
}
