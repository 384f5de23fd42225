//! `[ingest]` and its listeners.

use super::*;

#[test]
fn each_mistake_of_a_listener_is_told_where_it_stands() {
    for (addition, key, message) in [
        ("[ingest]\nlisten = 'systemd:'", "ingest.listen", "names no socket"),
        ("[ingest]\nlisten = 'systemd:a:b'", "ingest.listen", "names no socket"),
        ("[ingest]\nlisten = 'unix:'", "ingest.listen", "is not a path"),
        ("[ingest]\nlisten = 'unix:/'", "ingest.listen", "cannot be a socket's path"),
        ("[ingest]\nlisten = 8080", "ingest.listen", "expected a string, got an integer"),
        ("[ingest]\nlisten = []", "ingest.listen", "names no address"),
        ("[ingest]\nlisten = ['127.0.0.1:1', 'x']", "ingest.listen.1", "`x` is not an address"),
        ("[ingest]\nlisten = ['127.0.0.1:0', '127.0.0.1:0']", "ingest.listen.1", "is taken by"),
        ("[ingest]\nlisten = ['unix:/a', 'unix:/a']", "ingest.listen.1", "is taken by"),
        ("[ingest.listeners.a]\nmode = '0600'", "ingest.listeners.a.address", "is missing"),
        (
            "[ingest.listeners.a]\naddress = '127.0.0.1:1'\nmode = '0600'",
            "ingest.listeners.a.mode",
            "does not go with",
        ),
        (
            "[ingest.listeners.a]\naddress = 'unix:/a'\nmode = '1777'",
            "ingest.listeners.a.mode",
            "is not a file's mode",
        ),
        (
            "[ingest.listeners.a]\naddress = 'unix:/a'\nowner = 'nobody-at-all'",
            "ingest.listeners.a.owner",
            "there is no user",
        ),
        (
            "[ingest]\nlisten = '127.0.0.1:1'\nlisteners.a = { address = '0.0.0.0:1' }",
            "ingest.listeners.a.address",
            "is taken by `ingest.listen`",
        ),
        (
            "[ingest.listeners.a]\naddress = '127.0.0.1:1'\ncertificate = '/etc/hostname'",
            "ingest.listeners.a.key",
            "is missing",
        ),
        ("[ingest.listeners.A]\naddress = '127.0.0.1:1'", "ingest.listeners.A", "not a name"),
        ("[ingest]\nlisten = '127.0.0.1:9090'", "ingest.listen", "is taken by"),
    ] {
        check(addition, key, message);
    }
}

#[test]
fn listeners_are_an_address_a_list_or_a_table_each() {
    let listeners = |text: &str| {
        let config = load_text(&format!("{BASE}{ROUTE}{text}")).unwrap();
        let shown = |each: &std::sync::Arc<ListenerConfig>| {
            let name = each.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            format!("{name}{} {:o}", each.listen, each.access.mode)
        };
        config.ingest.listeners.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(listeners("[ingest]\nlisten = '[::1]:1'"), ["[::1]:1 660"]);
    assert_eq!(
        listeners("[ingest]\nlisten = ['127.0.0.1:0', 'unix:/run/a.sock', '127.0.0.2:0']"),
        ["127.0.0.1:0 660", "unix:/run/a.sock 660", "127.0.0.2:0 660"]
    );
    // A table alone leaves no default address open.
    let table = "[ingest.listeners.b]\naddress = 'unix:/run/b.sock'\nmode = '600'\n";
    assert_eq!(listeners(table), ["b: unix:/run/b.sock 600"]);
    let both = format!("[ingest]\nlisten = '127.0.0.1:1'\n{table}owner = 'root'\ngroup = '0'\n");
    assert_eq!(listeners(&both), ["127.0.0.1:1 660", "b: unix:/run/b.sock 600"]);
    let config = load_text(&format!("{BASE}{ROUTE}{both}")).unwrap();
    let access = SocketAccess { mode: 0o600, owner: Some(0), group: Some(0) };
    assert_eq!(config.ingest.listeners[1].access, access);
    // A relative path lies beside the file that names it.
    let config = load_text(&format!("{BASE}{ROUTE}[ingest]\nlisten = 'unix:a.sock'")).unwrap();
    let Listen::Unix(path) = &config.ingest.listeners[0].listen else { panic!("no Unix socket") };
    assert_eq!(path, &config.files[0].with_file_name("a.sock"));
}
