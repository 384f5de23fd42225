//! `ingest.listen` and `[ingest.listeners]`: where providers post.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::checked::{Listen, ListenerConfig, SocketAccess};
use super::super::raw::{Node, Value};
use super::super::secret::read::{Unreadable, private};
use super::super::section::{Section, path, shown, string};
use super::super::tls::{TlsConfig, TlsFault};
use super::super::{Inputs, Location, Problems, read_file};
use super::conflicts::Places;
use crate::model::ListenerName;

/// Most listeners of one gateway: some addresses, and the sockets that a service manager hands over.
const LISTENERS_MAX: usize = 64;

/// Longest path of a Unix socket, in bytes. The system's bound is 107; a socket is made beside its
/// place first, under a name that is longer by a few.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// The prefix of a Unix socket's path.
const UNIX: &str = "unix:";

/// The prefix of the name of sockets that the service manager hands over.
const SYSTEMD: &str = "systemd:";

const HELP: &str =
    "an IP address and a port, as `127.0.0.1:8080`, `unix:` and a path, or `systemd:` and a name";

/// Largest file of certificates, in bytes: a chain is some 10 KiB.
const CERTIFICATE_BYTES_MAX: u64 = 256 << 10;

/// All listeners: those of `listen`, then those with a table of their own. Where neither is written
/// there is one, at the default address.
pub(super) fn check(
    section: &mut Section<'_>,
    inputs: &mut Inputs,
    problems: &mut Problems,
) -> Vec<Arc<ListenerConfig>> {
    let before = problems.0.len();
    let written = section.node("listen");
    let mut listeners: Vec<ListenerConfig> = match written {
        None => Vec::new(),
        Some(Node { at, value: Value::Array(nodes) }) => {
            if nodes.is_empty() {
                problems.push(at, "names no address", Some(HELP.to_owned()));
            }
            nodes.iter().filter_map(|node| unnamed(node, problems)).collect()
        }
        Some(node) => unnamed(node, problems).into_iter().collect(),
    };
    for (name, node) in section.named("listeners", ListenerName::new, problems) {
        listeners.extend(named(name, Section::of(node, problems), inputs, problems));
    }
    if listeners.len() > LISTENERS_MAX {
        let message = format!("{} listeners, at most {LISTENERS_MAX}", listeners.len());
        problems.push(&section.at, message, None);
        listeners.clear();
    }
    if listeners.is_empty() && problems.0.len() == before {
        // Only this machine, until the operator says otherwise.
        let default = SocketAddr::from(([127, 0, 0, 1], 8080));
        let at = section.at.child("listen");
        listeners.push(ListenerConfig { at, ..ListenerConfig::plain(Listen::Tcp(default)) });
    }
    listeners.into_iter().map(Arc::new).collect()
}

/// An address that stands in `listen`.
fn unnamed(node: &Node, problems: &mut Problems) -> Option<ListenerConfig> {
    let listen = address(&node.at, string(node, problems)?, problems)?;
    Some(ListenerConfig { at: node.at.clone(), ..ListenerConfig::plain(listen) })
}

/// `[ingest.listeners.<name>]`.
fn named(
    name: ListenerName,
    mut section: Section<'_>,
    inputs: &mut Inputs,
    problems: &mut Problems,
) -> Option<ListenerConfig> {
    let written = section.required("address", HELP, problems);
    let listen = written.and_then(|node| address(&node.at, string(node, problems)?, problems));
    let access = access(&mut section, listen.as_ref(), problems);
    let http2 = section.boolean("http2", problems);
    let tls = tls(&mut section, http2.unwrap_or(true), inputs, problems);
    section.finish(&[], problems);
    let http2 = http2.unwrap_or(tls.is_some());
    let at = written?.at.clone();
    Some(ListenerConfig { name: Some(name), listen: listen?, access, tls, http2, at })
}

/// The certificate and its key, where there are any.
fn tls(
    section: &mut Section<'_>,
    http2: bool,
    inputs: &mut Inputs,
    problems: &mut Problems,
) -> Option<TlsConfig> {
    let [certificate, key] = ["certificate", "key"].map(|name| {
        let written = section.path(name, problems);
        if let Some((_, path)) = &written {
            inputs.add_file(path);
        }
        written
    });
    let ((at, certificate), (key_at, key)) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return None,
        (one, _) => {
            let missing = if one.is_some() { "key" } else { "certificate" };
            // Where it is there and wrong, that is told already.
            if section.place_of(missing).is_none() {
                let help = "a listener with TLS has a `certificate` and its `key`".to_owned();
                problems.push(&section.at.child(missing), "is missing", Some(help));
            }
            return None;
        }
    };
    let chain = read_file(&certificate, CERTIFICATE_BYTES_MAX);
    let chain = chain.map_err(|error| problems.push(at, error.tell(&certificate), None)).ok();
    // The group may read it: a certificate's key is often shared by the programs of one machine.
    let secret = private(&key, 0o640).map_err(|problem| {
        let Unreadable { message, help } = problem;
        problems.push(key_at, message, help);
    });
    match TlsConfig::new(&chain?, &secret.ok()?, http2) {
        Ok(tls) => return Some(tls),
        Err(TlsFault::Certificate(message)) => {
            problems.push(at, format!("`{}` {message}", certificate.display()), None);
        }
        Err(TlsFault::Key { message, help }) => {
            problems.push(key_at, format!("`{}` {message}", key.display()), help);
        }
    }
    None
}

fn address(at: &Location, text: &str, problems: &mut Problems) -> Option<Listen> {
    if let Some(text) = text.strip_prefix(UNIX) {
        return socket_path(at, text, problems).map(Listen::Unix);
    }
    if let Some(name) = text.strip_prefix(SYSTEMD) {
        let is_name = |name: &&str| !name.is_empty() && !name.contains([':', '\0']);
        let listen = Some(name).filter(is_name).map(|name| Listen::Systemd(name.to_owned()));
        if listen.is_none() {
            let help = "the `FileDescriptorName=` of a socket unit, or else the unit's name";
            problems.push(at, format!("{} names no socket", shown(text)), Some(help.to_owned()));
        }
        return listen;
    }
    let address = text.parse().ok().map(Listen::Tcp);
    if address.is_none() {
        problems.push(at, format!("{} is not an address", shown(text)), Some(HELP.to_owned()));
    }
    address
}

fn socket_path(at: &Location, text: &str, problems: &mut Problems) -> Option<PathBuf> {
    let path = path(at, text, problems)?;
    let len = path.as_os_str().len();
    if path.file_name().is_none() || len > SOCKET_PATH_BYTES_MAX {
        let message = format!("`{}` cannot be a socket's path", path.display());
        let help = format!("a file's path of at most {SOCKET_PATH_BYTES_MAX} bytes, not {len}");
        problems.push(at, message, Some(help));
        return None;
    }
    Some(path)
}

/// Who may connect to a Unix socket. Every other kind has no owner and no mode.
fn access(
    section: &mut Section<'_>,
    listen: Option<&Listen>,
    problems: &mut Problems,
) -> SocketAccess {
    if listen.is_some_and(|listen| !matches!(listen, Listen::Unix(_))) {
        for key in ["mode", "owner", "group"] {
            if let Some(at) = section.place_of(key) {
                section.skip(&[key]);
                let help = format!("only a Unix socket, `{UNIX}…`, has one");
                problems.push(at, "does not go with this address", Some(help));
            }
        }
    }
    let default = SocketAccess::default();
    let mode = section.string("mode", problems).and_then(|(at, text)| mode(at, text, problems));
    let user = |name: &str| uzers::get_user_by_name(name).map(|user| user.uid());
    let group = |name: &str| uzers::get_group_by_name(name).map(|group| group.gid());
    SocketAccess {
        mode: mode.unwrap_or(default.mode),
        owner: account(section.string("owner", problems), "user", user, problems),
        group: account(section.string("group", problems), "group", group, problems),
    }
}

fn mode(at: &Location, text: &str, problems: &mut Problems) -> Option<u32> {
    let digits = (3..=4).contains(&text.len());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
    if mode.is_none() {
        let help = "three octal digits after a zero, as `\"0660\"`".to_owned();
        problems.push(at, format!("{} is not a file's mode", shown(text)), Some(help));
    }
    mode
}

/// The number of an account that is written by name or by number.
fn account(
    written: Option<(&Location, &str)>,
    kind: &str,
    find: impl Fn(&str) -> Option<u32>,
    problems: &mut Problems,
) -> Option<u32> {
    let (at, text) = written?;
    let number = text.parse().ok().or_else(|| find(text));
    if number.is_none() {
        problems.push(at, format!("there is no {kind} {}", shown(text)), None);
    }
    number
}

/// Every listener needs an address of its own, and the admin side too.
pub(super) fn check_apart(
    listeners: &[Arc<ListenerConfig>],
    admin: SocketAddr,
    places: &Places<'_>,
    problems: &mut Problems,
) {
    // Where one of them is wrong, what it would be is not known.
    let is_wrong = |key: &str| key.starts_with("ingest.listen") || key == "admin.listen";
    if problems.0.iter().any(|problem| is_wrong(&problem.at.key)) {
        return;
    }
    let help = || Some("each listener needs an address of its own".to_owned());
    for (index, listener) in listeners.iter().enumerate() {
        let mut before = listeners.iter().take(index);
        if let Some(other) = before.find(|other| is_taken(&listener.listen, &other.listen)) {
            let message =
                format!("`{}` is taken by `{}`, `{}`", listener.listen, other.at.key, other.listen);
            problems.push(&listener.at, message, help());
        }
    }
    let taken = |listener: &&Arc<ListenerConfig>| match &listener.listen {
        Listen::Tcp(own) => is_same_socket(*own, admin),
        Listen::Unix(_) | Listen::Systemd(_) => false,
    };
    let Some(listener) = listeners.iter().find(taken) else { return };
    // Either may be a default: what is written is what can be changed.
    let (at, own, other, theirs) = if places.sources.get("admin.listen").is_some() {
        let at = places.of("admin.listen");
        (at, admin.to_string(), listener.at.key.as_str(), listener.listen.to_string())
    } else {
        (listener.at.clone(), listener.listen.to_string(), "admin.listen", admin.to_string())
    };
    problems.push(&at, format!("`{own}` is taken by `{other}`, `{theirs}`"), help());
}

fn is_taken(own: &Listen, other: &Listen) -> bool {
    match (own, other) {
        (Listen::Tcp(own), Listen::Tcp(other)) => own == other || is_same_socket(*own, *other),
        _ => own == other,
    }
}

/// Port 0 is a different port each time; an unspecified address is every address.
fn is_same_socket(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() != 0
        && a.port() == b.port()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_compared_as_the_kernel_would() {
        for (a, b, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "[::]:1", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(is_same_socket(a.parse().unwrap(), b.parse().unwrap()), expected, "{a} {b}");
        }
    }
}
