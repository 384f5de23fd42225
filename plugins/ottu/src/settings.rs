use plugin_sdk::Country;
use plugin_sdk::settings::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What Ottu's dashboard can read as success: 200 sends the payer on to the shop, 201 to Ottu's
/// own summary.
const SUCCESS: [u16; 2] = [200, 201];

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Signature schemes to try, in this order.
    pub schemes: Vec<Scheme>,
    /// Whether operation webhooks must be signed. Payments always must.
    pub operation_signature: OperationSignature,
    /// Status of the answer to what is taken: 200 (Ottu sends the payer on to `redirect_url`) or
    /// 201 (Ottu shows its payment summary).
    #[schemars(range(min = 200, max = 201))]
    pub success_status: u16,
    /// Country of telephone numbers that name none. Absent: those have no `e164`.
    pub default_country: Option<Country>,
}

/// How the signed fields become the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// 18 fields of the top level, as `keyvalue`, joined by nothing.
    Standard,
    /// 26 fields, nested ones too, as `path=value`, joined by line feeds.
    Subscription,
}

/// Whether operation webhooks must be signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperationSignature {
    /// They must.
    #[default]
    Required,
    /// Old instances do not sign them. The route then has a `{token}` and no `hmac_key`.
    Optional,
}

impl OperationSignature {
    /// Dotted path of the setting, and the word for "optional" in it.
    pub(crate) const OPTIONAL: (&str, &str) = ("operation_signature", "optional");
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            schemes: vec![Scheme::Standard, Scheme::Subscription],
            operation_signature: OperationSignature::default(),
            success_status: 200,
            default_country: None,
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let twice = self.schemes.iter().enumerate().any(|(index, scheme)| {
            self.schemes.get(..index).is_some_and(|before| before.contains(scheme))
        });
        if self.schemes.is_empty() {
            problems.push(Problem::new("schemes", "is empty; leave it out to try all"));
        } else if twice {
            problems.push(Problem::new("schemes", "names a scheme twice"));
        }
        if !SUCCESS.contains(&self.success_status) {
            problems.push(Problem::new("success_status", "expected 200 or 201"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(json: &str) -> Vec<String> {
        let settings: Settings = serde_json::from_str(json).unwrap();
        settings.check().iter().map(|problem| problem.path().to_owned()).collect()
    }

    #[test]
    fn mistakes_are_named_by_path() {
        assert_eq!(paths(r#"{"schemes":[],"success_status":202}"#), ["schemes", "success_status"]);
        assert_eq!(paths(r#"{"schemes":["standard","standard"]}"#), ["schemes"]);
        assert_eq!(paths(r#"{"success_status":204}"#), ["success_status"]);
        assert!(paths("{}").is_empty());
        assert!(paths(r#"{"schemes":["subscription"],"success_status":201}"#).is_empty());
    }

    #[test]
    fn words_are_those_of_the_documentation() {
        for (json, good) in [
            (r#"{"operation_signature":"required"}"#, true),
            (r#"{"operation_signature":"optional"}"#, true),
            (r#"{"operation_signature":"none"}"#, false),
            (r#"{"schemes":["raw"]}"#, false),
            (r#"{"scheme":"standard"}"#, false),
            (r#"{"default_country":"KW"}"#, true),
            (r#"{"default_country":"Kuwait"}"#, false),
        ] {
            assert_eq!(serde_json::from_str::<Settings>(json).is_ok(), good, "{json}");
        }
        let (setting, word) = OperationSignature::OPTIONAL;
        let json = format!(r#"{{"{setting}":"{word}"}}"#);
        let settings: Settings = serde_json::from_str(&json).unwrap();
        assert_eq!(settings.operation_signature, OperationSignature::Optional);
    }
}
