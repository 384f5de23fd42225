//! `[routes.<name>]`.

use std::collections::BTreeMap;
use std::time::Duration;

use smol_str::SmolStr;

use super::super::checked::{
    AdapterConfig, IngestConfig, PluginsConfig, RouteAuth, RouteConfig, RoutePath,
};
use super::super::raw::Node;
use super::super::section::{Bounds, Section, shown, string, table};
use super::super::{AllowFrom, Location, Problems, Secret, Secrets};
use super::names::Names;
use super::secrets::SecretUse;
use super::sections::{BODY_MAX, DEADLINE_MIN};
use super::{adapters, deliver_to, limits, path};
use crate::model::{AdapterName, Answer, RouteName};

/// The name under which a route gives the secret of its path's `{token}` segment.
pub(crate) const TOKEN_ROLE: &str = "token";

/// Providers give up after 5 to 30 seconds, most of them after 10 to 15.
const DEADLINE: Bounds<Duration> =
    Bounds::new(Duration::from_secs(15), DEADLINE_MIN, Duration::from_secs(5 * 60));

const STATUS: Bounds<usize> = Bounds::new(503, 200, 599);

/// Largest body of a paused answer: it stands in a configuration file.
const PAUSED_BODY_BYTES_MAX: usize = 64 * 1024;

/// Keys of later versions.
const LATER: [&str; 1] = ["answer_from"];

/// What routes refer to.
pub(super) struct Scope<'c, 't> {
    pub(super) names: &'c Names<'t>,
    pub(super) secrets: &'c Secrets,
    pub(super) plugins: &'c PluginsConfig,
}

/// All routes, and the paths also of those that are wrong elsewhere.
#[derive(Default)]
pub(super) struct Routes {
    pub(super) checked: BTreeMap<RouteName, RouteConfig>,
    pub(super) paths: BTreeMap<RouteName, RoutePath>,
}

/// Checks all routes. A route that names a plugin directly adds that plugin's unnamed adapter.
pub(super) fn check(
    root: &mut Section<'_>,
    scope: &Scope<'_, '_>,
    ingest: &IngestConfig,
    adapters: &mut BTreeMap<AdapterName, AdapterConfig>,
    problems: &mut Problems,
) -> Routes {
    let mut routes = Routes::default();
    for (name, node) in root.named("routes", RouteName::new, problems) {
        let mut section = Section::of(node, problems);
        let path = route_path(&mut section, problems);
        routes.paths.extend(path.clone().map(|path| (name.clone(), path)));
        let adapter = adapter(&mut section, scope, adapters, problems);
        let secrets_at = section.at.child("secrets");
        let secrets = secrets(&mut section, scope, problems);
        check_path_token(path.as_ref(), &secrets, &secrets_at, problems);
        let auth = section.choice("auth", &[("none", RouteAuth::None)], problems);
        let settings = adapters::settings(&mut section, problems);
        let deliver_to = deliver_to::check(&mut section, scope.names, problems);
        let body_max_default = u64::try_from(ingest.body_max).unwrap_or(u64::MAX);
        let body_max = BODY_MAX.with_default(body_max_default);
        let body_max = section.size_in_memory("body_max", &body_max, problems);
        let deadline = section.duration("deadline", &DEADLINE, problems);
        let limits = limits::check(&mut section, problems);
        let allow_from = section.node("allow_from");
        let allow_from = allow_from.map(|node| AllowFrom::check(node, problems));
        let paused = section.boolean("paused", problems).unwrap_or(false);
        let paused_answer = paused_answer(&mut section, problems);
        section.finish(&LATER, problems);
        let (Some(path), Some(adapter)) = (path, adapter) else { continue };
        let route = RouteConfig {
            name: name.clone(),
            path,
            adapter,
            secrets: secrets.into_iter().filter_map(|(role, s)| Some((role, s?))).collect(),
            auth: auth.unwrap_or(RouteAuth::Required),
            settings,
            deliver_to,
            body_max,
            deadline,
            limits,
            allow_from: allow_from.unwrap_or_default(),
            paused,
            paused_answer,
            at: node.at.clone(),
        };
        routes.checked.insert(name, route);
    }
    routes
}

fn route_path(section: &mut Section<'_>, problems: &mut Problems) -> Option<RoutePath> {
    let node = section.required("path", "as `/hooks/ottu`, or `/in/{token}`", problems)?;
    path::check(&node.at, string(node, problems)?, problems)
}

/// The adapter that a route names, or the unnamed one of its plugin.
fn adapter(
    section: &mut Section<'_>,
    scope: &Scope<'_, '_>,
    adapters: &mut BTreeMap<AdapterName, AdapterConfig>,
    problems: &mut Problems,
) -> Option<AdapterName> {
    let help = || Some("one of `adapter = \"…\"` and `plugin = \"…\"`".to_owned());
    let (node, is_plugin) = match (section.node("adapter"), section.node("plugin")) {
        (Some(node), None) => (node, false),
        (None, Some(node)) => (node, true),
        (Some(_), Some(plugin)) => {
            problems.push(&plugin.at, "the route names an adapter already", help());
            return None;
        }
        (None, None) => {
            problems.push(&section.at.child("adapter"), "is missing", help());
            return None;
        }
    };
    if !is_plugin {
        return scope.names.adapter(node, problems);
    }
    let plugin = adapters::plugin_name(node, problems)?;
    let name = AdapterName::new(plugin.as_str()).ok()?;
    match adapters.get(&name) {
        Some(other) if other.plugin.name != plugin => {
            let message = format!(
                "the adapter `{name}` at {} runs another plugin, `{}`",
                other.at.place(),
                other.plugin.name
            );
            let help = format!("give `{plugin}` an `[adapters.<name>]` table and name that");
            problems.push(&node.at, message, Some(help));
            return None;
        }
        Some(_) => {}
        // Declared, and wrong in itself: that is told there.
        None if scope.names.is_adapter(plugin.as_str()) => {}
        None => {
            let source = adapters::source(scope.plugins, plugin);
            adapters.insert(name.clone(), adapters::unnamed(name.clone(), source, node.at.clone()));
        }
    }
    Some(name)
}

/// By role. A role whose secret is wrong in itself is there without one.
fn secrets(
    section: &mut Section<'_>,
    scope: &Scope<'_, '_>,
    problems: &mut Problems,
) -> BTreeMap<String, Option<Secret>> {
    let mut secrets = BTreeMap::new();
    let Some(table) = section.node("secrets").and_then(|node| table(node, problems)) else {
        return secrets;
    };
    for (role, entry) in &table.0 {
        let secret = scope.names.secret(&entry.node, scope.secrets, problems);
        if let (TOKEN_ROLE, Some(secret)) = (role.as_str(), secret) {
            SecretUse::Token.check(secret, &entry.node.at, problems);
        }
        secrets.insert(role.clone(), secret.cloned());
    }
    secrets
}

/// A `{token}` segment and a `token` secret need each other.
fn check_path_token(
    path: Option<&RoutePath>,
    secrets: &BTreeMap<String, Option<Secret>>,
    at: &Location,
    problems: &mut Problems,
) {
    let has_secret = secrets.contains_key(TOKEN_ROLE);
    match path {
        Some(RoutePath::Token { .. }) if !has_secret => {
            let help = Some("add `token = \"<name of a secret>\"` to the route's `secrets`".into());
            problems.push(&at.child(TOKEN_ROLE), "the path has a `{token}` without a secret", help);
        }
        Some(RoutePath::Exact(_)) if has_secret => {
            let help = Some("write the path as `/in/{token}`, or take the secret out".to_owned());
            problems.push(&at.child(TOKEN_ROLE), "the path has no `{token}` segment", help);
        }
        _ => {}
    }
}

fn paused_answer(section: &mut Section<'_>, problems: &mut Problems) -> Option<Answer> {
    let node = section.node("paused_answer")?;
    let mut section = Section::of(node, problems);
    section.required("status", "a number from 200 to 599", problems);
    let status = section.count("status", &STATUS, problems);
    let headers = headers(&mut section, problems);
    let body = section.string("body", problems);
    if let Some((at, body)) = body
        && body.len() > PAUSED_BODY_BYTES_MAX
    {
        problems.push(at, "is too long", Some("at most 64KiB".to_owned()));
    }
    section.finish(&[], problems);
    let body = body.map(|(_, body)| body.to_owned()).unwrap_or_default();
    Some(Answer { status: u16::try_from(status).ok()?, headers, body: body.into() })
}

fn headers(section: &mut Section<'_>, problems: &mut Problems) -> Vec<(SmolStr, SmolStr)> {
    let Some(table) = section.node("headers").and_then(|node| table(node, problems)) else {
        return Vec::new();
    };
    let mut headers = Vec::new();
    for (name, entry) in &table.0 {
        let Some(value) = header_value(&entry.node, problems) else { continue };
        match answer_header(name) {
            Ok(name) => headers.push((name, value)),
            Err(message) => problems.push(&entry.key_at, message, None),
        }
    }
    headers
}

fn header_value(node: &Node, problems: &mut Problems) -> Option<SmolStr> {
    let text = string(node, problems)?;
    if http::HeaderValue::from_str(text).is_err() {
        problems.push(&node.at, format!("{} is not a header's value", shown(text)), None);
        return None;
    }
    Some(text.into())
}

/// A header that an answer may carry, in lower case.
fn answer_header(name: &str) -> Result<SmolStr, &'static str> {
    /// About the connection, or written by the gateway itself.
    const RESERVED: [&str; 9] = [
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name =
        http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| "is not the name of a header")?;
    if RESERVED.contains(&name.as_str()) {
        return Err("is set by the gateway alone");
    }
    Ok(name.as_str().into())
}
