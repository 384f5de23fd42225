//! Settings: merged on their way to a plugin, and found again in the files when it refuses them.

use super::Settings;
use super::words::{told, untrusted};
use crate::adapter::{ConfigureError, SettingsProblem};
use crate::config::{AdapterConfig, Config, Location, Problems, join_key};

/// Lays `over` on `settings`: objects merge, every other value replaces.
pub(super) fn lay_over(settings: &mut Settings, over: &Settings) {
    for (key, value) in over {
        match (settings.get_mut(key), value) {
            (Some(serde_json::Value::Object(mine)), serde_json::Value::Object(theirs)) => {
                lay_over(mine, theirs);
            }
            (Some(mine), value) => *mine = value.clone(),
            (None, value) => {
                settings.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Tells why an adapter could not be configured, each complaint where its setting stands.
pub(super) fn tell(
    config: &Config,
    adapter: &AdapterConfig,
    error: &ConfigureError,
    problems: &mut Problems,
) {
    match error {
        ConfigureError::Load(error) => {
            problems.push(&adapter.at, told(error), None);
        }
        ConfigureError::Problems(complaints) => {
            for complaint in complaints {
                let at = place(config, adapter, complaint);
                problems.push(&at, untrusted(&complaint.message), None);
            }
        }
    }
}

/// Where the setting stands that a plugin complains of: in the route or in its adapter, wherever
/// more of the path is found; else where it would stand.
fn place(config: &Config, adapter: &AdapterConfig, complaint: &SettingsProblem) -> Location {
    let path = dotted(&complaint.path);
    let find = |table: String| {
        let settings = join_key(&table, "settings");
        let key = if path.is_empty() { settings } else { format!("{settings}.{path}") };
        config.sources.nearest(&key).map(|(at, found)| (at, found.saturating_sub(table.len())))
    };
    let own = find(format!("adapters.{}", adapter.name));
    let of_route = complaint.route.as_ref().and_then(|route| find(format!("routes.{route}")));
    let nearest = match (of_route, own) {
        (Some((route, found)), Some((_, found_own))) if found >= found_own => Some(route),
        (Some((route, _)), None) => Some(route),
        (_, Some((own, _))) => Some(own),
        (None, None) => None,
    };
    nearest.unwrap_or_else(|| adapter.at.clone())
}

/// `a.list[2].b` and `a.list.2.b` are the same path; it is a guest's text.
fn dotted(path: &str) -> String {
    untrusted(path).replace('[', ".").replace(']', "").trim_start_matches('.').to_owned()
}
