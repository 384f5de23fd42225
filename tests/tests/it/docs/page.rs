//! One adapter's page, in Markdown.

use std::fmt::Write as _;

use serde_json::Value;
use sluice::adapter::{Description, EventType, SettingIs};
use sluice::model::Travels;

use super::fields::{Field, fields};

pub(super) fn page(about: &Description) -> String {
    let Description { name, version, summary, methods, .. } = about;
    let mut page = format!(
        "# The adapter `{name}`\n\n\
         <!-- Written by `cargo xtask docs` from what the adapter describes: change it there. -->\n\n\
         {summary}.\n\n\
         Version {version}. It takes {}. What is verified, how to set up the provider's side and the \
         provider's quirks are in its [README](../../plugins/{name}/README.md).\n",
        codes(methods),
    );
    settings(about, &mut page);
    secrets(about, &mut page);
    events(about, &mut page);
    operating(about, &mut page);
    page
}

fn settings(about: &Description, page: &mut String) {
    page.push_str("\n## Settings\n\n");
    let rows: Vec<_> = fields(&about.settings_schema)
        .into_iter()
        .map(|Field { path, kind, required, default, meaning }| {
            let default = match default {
                Some(default) => format!("`{default}`"),
                None if required => "required".to_owned(),
                None => String::new(),
            };
            vec![format!("`{path}`"), kind, default, meaning]
        })
        .collect();
    table(page, &["setting", "type", "default", "meaning"], &rows, "It has none.");
}

fn secrets(about: &Description, page: &mut String) {
    page.push_str("\n## Secrets\n\n");
    let rows: Vec<_> = about
        .secrets
        .iter()
        .map(|secret| {
            let required = match (&secret.unless, &secret.with) {
                (Some(SettingIs { setting, is }), _) => {
                    format!("required; not with `{setting} = \"{is}\"`")
                }
                (None, Some(setting)) => format!("with `{setting}`, and not without"),
                (None, None) if secret.required => "required".to_owned(),
                (None, None) => "optional".to_owned(),
            };
            let (role, travels) = (format!("`{}`", secret.role), travels(&secret.travels));
            vec![role, required, travels, secret.summary.clone()]
        })
        .collect();
    table(page, &["role", "", "travels", "meaning"], &rows, "It knows none of its own.");
    page.push_str(
        "\nA route may have a `token` in its path beside these, which the gateway itself compares.\n",
    );
}

fn travels(travels: &Travels) -> String {
    let named_by = |setting: &Option<String>| {
        setting
            .as_ref()
            .map_or_else(String::new, |path| format!(", or the one that `{path}` names"))
    };
    match travels {
        Travels::Header { name, prefix, setting } if prefix.is_empty() => {
            format!("in the header `{name}`{}", named_by(setting))
        }
        Travels::Header { name, prefix, setting } => {
            format!("in the header `{name}`{}, after `{prefix}`", named_by(setting))
        }
        Travels::Query { name, setting } => {
            format!("in the query, as `{name}`{}", named_by(setting))
        }
        Travels::Body => "in the body".to_owned(),
        Travels::Key => "never: it is a key".to_owned(),
    }
}

fn events(about: &Description, page: &mut String) {
    page.push_str("\n## Events\n\n");
    let rows: Vec<_> = about
        .events
        .iter()
        .map(|event| vec![format!("`{}`", event.kind), event.summary.clone()])
        .collect();
    table(page, &["type", "meaning"], &rows, "It makes none.");
    let mut shown: Vec<&Value> = Vec::new();
    for EventType { schema, .. } in &about.events {
        if shown.contains(&schema) {
            continue;
        }
        shown.push(schema);
        let alike = about.events.iter().filter(|event| event.schema == *schema);
        let alike: Vec<&String> = alike.map(|event| &event.kind).collect();
        let of_all = alike.len() == about.events.len();
        let of = if of_all { "every event".to_owned() } else { codes(&alike) };
        write!(page, "\n### Data of {of}\n\n").unwrap();
        let rows: Vec<_> = fields(schema)
            .into_iter()
            .map(|Field { path, kind, required, meaning, .. }| {
                let always = if required { "always" } else { "" };
                vec![format!("`{path}`"), kind, always.to_owned(), meaning]
            })
            .collect();
        table(page, &["field", "type", "", "meaning"], &rows, "Nothing but `original`.");
    }
}

fn operating(about: &Description, page: &mut String) {
    page.push_str("\n## Facts\n\n");
    let facts = about.facts.iter().map(|fact| vec![format!("`{}`", fact.name), fact.label.clone()]);
    table(page, &["fact", "column"], &facts.collect::<Vec<_>>(), "It records none of its own.");
    page.push_str("\nEach kind of warning that an event has is a fact, too.\n\n## Views\n\n");
    let views = about.views.iter().map(|view| {
        let parameters = fields(&view.parameters_schema).into_iter().map(|field| field.path);
        let parameters: Vec<String> = parameters.collect();
        vec![format!("`{}`", view.name), codes(&parameters), view.summary.clone()]
    });
    let views: Vec<_> = views.collect();
    table(page, &["view", "parameters", "meaning"], &views, "It has none.");
    page.push_str("\n## Beside that\n\n");
    match about.state_version {
        Some(version) => writeln!(page, "- It keeps state, in version {version} of its form."),
        None => writeln!(page, "- It keeps no state."),
    }
    .unwrap();
    match &about.consumes_named_by {
        Some(setting) => {
            let always = codes(&about.consumes);
            writeln!(page, "- It consumes {always}, and what the setting `{setting}` names.")
                .unwrap();
        }
        None if about.consumes.is_empty() => {}
        None => writeln!(page, "- It consumes {}.", codes(&about.consumes)).unwrap(),
    }
    match &about.paused_answer {
        Some(paused) => writeln!(page, "- A paused route answers {} by default.", paused.status),
        None => writeln!(page, "- A paused route answers 503 with `Retry-After` by default."),
    }
    .unwrap();
}

fn codes(words: &[impl AsRef<str>]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    words.join(", ")
}

/// A table, or a sentence where it would be empty.
fn table(page: &mut String, head: &[&str], rows: &[Vec<String>], none: &str) {
    if rows.is_empty() {
        writeln!(page, "{none}").unwrap();
        return;
    }
    writeln!(page, "| {} |", head.join(" | ")).unwrap();
    writeln!(page, "|{}", "---|".repeat(head.len())).unwrap();
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell_text(cell)).collect();
        writeln!(page, "| {} |", cells.join(" | ")).unwrap();
    }
}

fn cell_text(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
