use std::cell::RefCell;
use std::ffi::OsString;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::adapter::{CallEnd, ReceiveCall, SettingsProblem};
use crate::config;
use crate::model::PluginVersion;

/// A loader whose plugins are their own descriptions in JSON, and whose complaints are scripted.
#[derive(Default)]
struct Scripted {
    complaints: Vec<SettingsProblem>,
    loads: RefCell<usize>,
    configured: RefCell<Vec<Configured>>,
}

/// What one adapter was configured with: its own settings, and those of its routes.
type Configured = (Settings, Vec<(RouteName, Settings)>);

#[derive(Debug)]
struct ScriptedAdapter(Arc<Description>);

impl Receive for ScriptedAdapter {
    fn version(&self) -> &Arc<PluginVersion> {
        panic!("nobody asks while a snapshot is built")
    }

    fn description(&self) -> &Arc<Description> {
        &self.0
    }

    fn receive(&self, _call: ReceiveCall) -> CallEnd {
        panic!("nobody calls while a snapshot is built")
    }
}

impl Loader for Scripted {
    type Plugin = Arc<Description>;
    type Adapter = ScriptedAdapter;

    fn load(&self, name: &PluginName, bytes: &[u8]) -> Result<Self::Plugin, LoadError> {
        *self.loads.borrow_mut() += 1;
        serde_json::from_slice(bytes).map(Arc::new).map_err(|_| LoadError {
            plugin: name.clone(),
            message: "is not a component".to_owned(),
            source: None,
        })
    }

    fn describe<'p>(&self, plugin: &'p Self::Plugin) -> &'p Arc<Description> {
        plugin
    }

    fn version<'p>(&self, _plugin: &'p Self::Plugin) -> &'p Arc<PluginVersion> {
        panic!("nobody asks where a broken adapter is refused")
    }

    fn configure(
        &self,
        _adapter: &AdapterName,
        plugin: &Self::Plugin,
        settings: &Settings,
        routes: &[(RouteName, Settings)],
    ) -> Result<Arc<ScriptedAdapter>, ConfigureError> {
        self.configured.borrow_mut().push((settings.clone(), routes.to_vec()));
        if self.complaints.is_empty() {
            Ok(Arc::new(ScriptedAdapter(Arc::clone(plugin))))
        } else {
            Err(ConfigureError::Problems(self.complaints.clone()))
        }
    }
}

/// Two roles, one of them required, in a header that a setting may name.
fn description() -> serde_json::Value {
    json!({
        "name": "vkyc", "version": "1.2.3", "methods": ["POST"],
        "secrets": [
            {
                "role": "shared_secret", "required": true,
                "travels": { "in": "header", "name": "X-Secret", "setting": "header.name" },
            },
            { "role": "other", "travels": { "in": "key" } },
            { "role": "asked", "travels": { "in": "query", "name": "key" } },
            { "role": "inner", "travels": { "in": "body" } },
        ],
        "paused_answer": { "status": 202 },
    })
}

/// One role, a key that a setting does without.
fn waivable() -> serde_json::Value {
    json!({
        "name": "signed", "version": "1.2.3", "methods": ["POST"],
        "secrets": [{
            "role": "key", "required": true, "travels": { "in": "key" },
            "unless": { "setting": "signed.rows", "is": "no" },
        }, {
            "role": "mac", "summary": "Key of the MAC", "travels": { "in": "key" }, "with": "signed.mac",
        }],
    })
}

const BASE: &str = "admin.token_secret = 's'\nsecrets = { s = { env = 'S' }, \
                    short = { env = 'SHORT' }, lines = { env = 'LINES' } }\n";

/// Builds `text` where the plugins `vkyc` and `signed` are there and `broken` is no component.
fn build(loader: &Scripted, text: &str) -> Result<Built<ScriptedAdapter>, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.toml");
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    let plugin = |name: &str| folder.path().join(format!("plugins/{name}.wasm"));
    std::fs::write(plugin("vkyc"), description().to_string()).unwrap();
    std::fs::write(plugin("signed"), waivable().to_string()).unwrap();
    std::fs::write(plugin("broken"), "\0asm").unwrap();
    std::fs::write(&path, format!("{BASE}{text}")).unwrap();
    let config = config::load_with(&path, &environment).unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"test");
    build_with(&config, loader, &key, OnBrokenAdapter::Refuse)
}

fn environment(variable: &str) -> Option<OsString> {
    Some(match variable {
        "SHORT" => "0123456789abcde".into(),
        "LINES" => "0123456789abcdef\n\n".into(),
        _ => "0123456789abcdef0123456789abcdef".into(),
    })
}

/// The problems, one line each: line, key, message.
#[track_caller]
fn problems(loader: &Scripted, text: &str) -> Vec<(usize, String, String)> {
    let problems = build(loader, text).unwrap_err();
    problems.0.into_iter().map(|p| (p.at.line, p.at.key, p.message)).collect()
}

#[track_caller]
fn check(text: &str, key: &str, message: &str) {
    let told = problems(&Scripted::default(), text);
    let [(_, at, told)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(at, key);
    assert!(told.contains(message), "{told}");
}

fn route(name: &str, rest: &str) -> String {
    format!("[routes.{name}]\npath = '/{name}'\nplugin = 'vkyc'\n{rest}\n")
}

const VERIFIED: &str = "secrets = { shared_secret = 's' }";

#[test]
fn a_plugin_is_loaded_once_and_configured_once_per_adapter_with_all_its_routes() {
    let loader = Scripted::default();
    let text = format!(
        "[adapters.named]\nplugin = 'vkyc'\nsettings = {{ a = {{ b = 1, c = 2 }}, d = [1, 2] }}\n\
         [routes.x]\npath = '/x'\nadapter = 'named'\n{VERIFIED}\n\
         settings = {{ a = {{ b = 3 }}, d = [4] }}\n{}{}",
        route("y", VERIFIED),
        route("z", VERIFIED),
    );
    let built = build(&loader, &text).unwrap();
    assert_eq!(*loader.loads.borrow(), 1);
    assert_eq!(built.adapters.len(), 2);
    assert_eq!(built.routes.len(), 3);
    let configured = loader.configured.borrow();
    let [(own, routes), (unnamed, unnamed_routes)] = configured.as_slice() else {
        panic!("{configured:?}")
    };
    assert_eq!(json!(own), json!({ "a": { "b": 1, "c": 2 }, "d": [1, 2] }));
    assert_eq!(json!(routes[0].1), json!({ "a": { "b": 3, "c": 2 }, "d": [4] }));
    assert!(unnamed.is_empty());
    assert_eq!(unnamed_routes.len(), 2);
}

#[test]
fn a_paused_answer_is_the_routes_or_the_adapters() {
    let own = format!("{VERIFIED}\npaused_answer = {{ status = 429 }}");
    let text = format!("{}{}", route("x", VERIFIED), route("y", &own));
    let built = build(&Scripted::default(), &text).unwrap();
    let status = |name| built.routes[&RouteName::new(name).unwrap()].paused_answer.status;
    assert_eq!((status("x"), status("y")), (202, 429));
}

#[test]
fn a_route_that_could_not_verify_is_refused() {
    let unknown = "secrets = { shared_secret = 's', othr = 's' }";
    check(&route("x", unknown), "routes.x.secrets.othr", "has no secret `othr`");
    let missing = "secrets = { other = 's' }";
    check(&route("x", missing), "routes.x.secrets.shared_secret", "`vkyc` requires it");
    check(&route("x", ""), "routes.x.secrets.shared_secret", "`vkyc` requires it");
    assert!(build(&Scripted::default(), &route("x", "auth = 'none'")).is_ok());
}

#[test]
fn a_secret_that_a_setting_does_without_is_needed_or_refused_by_it() {
    let route = |token: &str, secrets: &str, settings: &str| {
        format!(
            "[routes.x]\npath = '/x{token}'\nplugin = 'signed'\nsecrets = {{ {secrets} }}\n\
             settings = {{ {settings} }}\n"
        )
    };
    let (key, without) = ("routes.x.secrets.key", "signed.rows = 'no'");
    for (secrets, settings) in [("", ""), ("", "signed.rows = 'yes'"), ("", "signed.rows = false")]
    {
        check(&route("", secrets, settings), key, "`signed` requires it");
    }
    check(&route("/{token}", "token = 's'", ""), key, "`signed` requires it");
    let both = route("/{token}", "token = 's', key = 's'", without);
    check(&both, key, "although the route says `signed.rows = \"no\"`");
    check(&route("", "", without), "routes.x.secrets", "no secret, so no request");
    for (token, secrets, settings) in [
        ("", "key = 's'", ""),
        ("/{token}", "token = 's', key = 's'", ""),
        ("/{token}", "token = 's'", without),
    ] {
        let built = build(&Scripted::default(), &route(token, secrets, settings));
        assert!(built.is_ok(), "{secrets} {settings}");
    }
    // A setting of the adapter counts for its routes; a route's own stands before it.
    let named = |settings: &str| {
        format!(
            "[adapters.a]\nplugin = 'signed'\nsettings = {{ {without} }}\n[routes.x]\n\
             path = '/x/{{token}}'\nadapter = 'a'\nsecrets = {{ token = 's' }}\n\
             settings = {{ {settings} }}\n"
        )
    };
    assert!(build(&Scripted::default(), &named("")).is_ok());
    check(&named("signed.rows = 'yes'"), key, "`signed` requires it");
}

#[test]
fn a_secret_and_the_setting_that_it_goes_with_stand_together() {
    let route = |secrets: &str, settings: &str, auth: &str| {
        format!(
            "[routes.x]\npath = '/x'\nplugin = 'signed'\nsecrets = {{ {secrets} }}\n\
             settings = {{ {settings} }}\n{auth}"
        )
    };
    let mac = "signed.mac.header = 'x-mac'";
    for auth in ["", "auth = 'none'\n"] {
        let key = if auth.is_empty() { "key = 's', " } else { "" };
        let (both, none) = (format!("{key}mac = 's'"), key.trim_end_matches(", "));
        let told = "no setting `signed.mac` says how it is used";
        check(&route(&both, "", auth), "routes.x.secrets.mac", told);
        let told = "needs the secret `mac`";
        check(&route(none, mac, auth), "routes.x.settings.signed.mac", told);
        for (secrets, settings) in [(both.as_str(), mac), (none, "")] {
            let built = build(&Scripted::default(), &route(secrets, settings, auth));
            assert!(built.is_ok(), "{secrets} {settings} {auth}");
        }
    }
    // The adapter's own setting is that of each of its routes.
    let named = format!(
        "[adapters.a]\nplugin = 'signed'\nsettings = {{ {mac} }}\n[routes.x]\npath = '/x'\n\
         adapter = 'a'\nsecrets = {{ key = 's' }}\n"
    );
    check(&named, "adapters.a.settings.signed.mac", "needs the secret `mac`");
}

#[test]
fn a_secret_must_be_able_to_travel_where_it_does() {
    let given = |role: &str, secret: &str| {
        route("x", &format!("secrets = {{ shared_secret = 's', {role} = '{secret}' }}"))
    };
    let lines = "secrets = { shared_secret = 'lines' }";
    check(&route("x", lines), "routes.x.secrets.shared_secret", "cannot be sent in a header");
    check(&given("asked", "short"), "routes.x.secrets.asked", "fewer than 16 bytes");
    for (role, secret) in
        [("asked", "s"), ("inner", "short"), ("inner", "lines"), ("other", "lines")]
    {
        assert!(build(&Scripted::default(), &given(role, secret)).is_ok(), "{role} {secret}");
    }
}

#[test]
fn a_shared_secret_that_could_be_guessed_is_hinted_at() {
    let given = "secrets = { shared_secret = 'short', inner = 'short', other = 'short' }";
    let built = build(&Scripted::default(), &route("x", given)).unwrap();
    let bound = &built.routes[&RouteName::new("x").unwrap()];
    let mut roles: Vec<&str> = weak_roles(bound).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["inner", "shared_secret"], "a key is no shared secret");
}

#[test]
fn a_header_is_named_by_the_setting_that_the_plugin_says() {
    let named = |value: &str| {
        route("x", &format!("{VERIFIED}\nsettings = {{ header = {{ name = {value} }} }}"))
    };
    assert!(build(&Scripted::default(), &named("'x-other'")).is_ok());
    check(&named("'a b'"), "routes.x.settings.header.name", "not the name of a header");
    check(&named("1"), "routes.x.settings.header.name", "expected a string");
}

#[test]
fn a_plugin_file_is_blamed_at_the_adapter_that_names_it() {
    let route =
        |plugin: &str| format!("[routes.x]\npath = '/x'\nplugin = '{plugin}'\n{VERIFIED}\n");
    check(&route("vkcy"), "routes.x.plugin", "there is no file");
    check(&route("broken"), "routes.x.plugin", "plugin `broken`: is not a component");
    let small = format!("plugins.size_max = '1KiB'\n{}", route("vkyc"));
    assert!(build(&Scripted::default(), &small).is_ok());
    let pinned = |digest: &str| format!("[adapters.x]\nplugin = 'vkyc'\ndigest = '{digest}'\n");
    let wrong = "0".repeat(64);
    check(&pinned(&wrong), "adapters.x.digest", &format!("not the pinned `{wrong}`"));
    let right = ring::digest::digest(&ring::digest::SHA256, description().to_string().as_bytes());
    assert!(build(&Scripted::default(), &pinned(&hex::encode(right))).is_ok());
}

#[test]
fn what_is_not_the_pinned_file_is_never_loaded_nor_configured() {
    let wrong = "0".repeat(64);
    let pinned = format!("[adapters.x]\nplugin = 'vkyc'\ndigest = '{wrong}'\n");
    let loader = Scripted::default();
    assert_eq!(problems(&loader, &pinned).len(), 1);
    assert_eq!(*loader.loads.borrow(), 0);
    // Another adapter, which pins nothing, runs the same file.
    let both = format!("{pinned}[adapters.y]\nplugin = 'vkyc'\n");
    assert_eq!(problems(&loader, &both).len(), 1);
    assert_eq!(*loader.loads.borrow(), 1);
    assert_eq!(loader.configured.borrow().len(), 1);
}

#[test]
fn a_complaint_is_told_where_the_setting_stands() {
    let complaint = |route: Option<&str>, path: &str| SettingsProblem {
        route: route.map(|name| RouteName::new(name).unwrap()),
        path: path.to_owned(),
        message: "no\ngood".to_owned(),
    };
    // Lines 1 and 2 are the base.
    let text = "[adapters.a]\nplugin = 'vkyc'\n[adapters.a.settings]\nown = 1\n\
                list = [\n  { x = 1 },\n]\n[routes.r]\npath = '/r'\nadapter = 'a'\n\
                secrets = { shared_secret = 's' }\n[routes.r.settings]\nmine = { deep = 1 }\n";
    for (route, path, line, key) in [
        (None, "own", 6, "adapters.a.settings.own"),
        (None, "list[0].x", 8, "adapters.a.settings.list.0.x"),
        (None, "absent.deep", 5, "adapters.a.settings.absent.deep"),
        (None, "", 5, "adapters.a.settings"),
        (Some("r"), "mine.deep", 15, "routes.r.settings.mine.deep"),
        (Some("r"), "mine.absent", 15, "routes.r.settings.mine.absent"),
        // It came from the adapter, so that is where it is mended.
        (Some("r"), "own", 6, "adapters.a.settings.own"),
        (Some("r"), "absent", 14, "routes.r.settings.absent"),
    ] {
        let loader = Scripted { complaints: vec![complaint(route, path)], ..Scripted::default() };
        let told = problems(&loader, text);
        assert_eq!(told, [(line, key.to_owned(), "no good".to_owned())], "{route:?} {path}");
    }
}

#[test]
fn one_mistake_that_every_route_inherits_is_told_once() {
    let complaint = |route: Option<&str>| SettingsProblem {
        route: route.map(|name| RouteName::new(name).unwrap()),
        path: "own".to_owned(),
        message: "wrong".to_owned(),
    };
    let complaints = vec![complaint(None), complaint(Some("r"))];
    let loader = Scripted { complaints, ..Scripted::default() };
    let text = format!(
        "[adapters.a]\nplugin = 'vkyc'\nsettings = {{ own = 1 }}\n\
         [routes.r]\npath = '/r'\nadapter = 'a'\n{VERIFIED}\n"
    );
    assert_eq!(problems(&loader, &text).len(), 1);
}

#[test]
fn a_guests_text_is_cut_and_cleaned() {
    assert_eq!(words::untrusted("a\u{1b}b\nc"), "a b c");
    let long = words::untrusted(&"é".repeat(400));
    assert!(long.len() <= 515 && long.ends_with('…'), "{long}");
}

#[test]
fn the_sandbox_gets_the_configured_cache_and_room_for_what_a_reload_may_allow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.toml");
    std::fs::write(&path, format!("{BASE}plugins.size_max = '4MiB'\nplugins.cache = 'c'\n"))
        .unwrap();
    let config = config::load_with(&path, &environment).unwrap();
    let limits = sandbox_limits(&config);
    assert_eq!(limits.component_bytes_max, COMPONENT_BYTES_MAX);
    assert_eq!(limits.cache.as_deref(), Some(folder.path().join("c")).as_deref().map(Path::new));
}
