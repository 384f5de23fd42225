use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Problem, is_header_name};
use crate::verification::{self, Encoding, Found, KeyEncoding, Mac, MacAlgorithm, Part};
use crate::{Inbound, Rejection, json};

/// An HMAC-SHA256 of the body in a header, for providers that sign without documenting how.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MacHeader {
    /// Name of the header that carries the code.
    pub header: String,
    /// How the code is written.
    #[serde(default)]
    pub encoding: MacEncoding,
    /// What stands before the code in the header, as `sha256=`.
    #[serde(default)]
    pub prefix: String,
    /// What the code is computed over.
    #[serde(default)]
    pub input: MacInput,
}

/// How a code is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MacEncoding {
    #[default]
    Hex,
    Base64,
}

/// What a code is computed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MacInput {
    /// The body as received.
    #[default]
    Raw,
    /// The body's JSON with sorted keys and without white space.
    SortedJson,
}

impl MacHeader {
    /// What is wrong with it, under `path`.
    #[must_use]
    pub fn check(&self, path: &str) -> Vec<Problem> {
        if is_header_name(&self.header) {
            Vec::new()
        } else {
            vec![Problem::new(format!("{path}.header"), "not the name of a header")]
        }
    }

    /// Verifies the code where one was arranged: `setting` says how it is sent, the secret of
    /// `role` is its key. `true`: it matched; `false`: the route has neither.
    ///
    /// One without the other is refused, since the route would otherwise be as weak as without
    /// either and nobody would notice. `configure` cannot find it: it is told of no secrets. Where
    /// `describe` says so ([`crate::Description::secret_with`]), the gateway finds it before.
    ///
    /// # Errors
    ///
    /// 500 `hmac_key_missing` for a setting without the secret, `hmac_setting_missing` for the
    /// secret without a setting; 401 `header_missing`, `header_repeated` or `signature_mismatch`;
    /// 400 where the body is not JSON but must be sorted.
    pub fn verify_arranged(
        setting: Option<&Self>,
        inbound: &Inbound,
        role: &str,
    ) -> Result<bool, Rejection> {
        match setting {
            Some(setting) if setting.verify(inbound, role)? => Ok(true),
            Some(_) => Err(Rejection::new(
                500,
                "hmac_key_missing",
                format!("the settings describe a MAC, but the route has no secret `{role}`"),
            )),
            None if verification::is_key_configured(role) => Err(Rejection::new(
                500,
                "hmac_setting_missing",
                format!("the route has the secret `{role}`, but no setting says where its MAC is"),
            )),
            None => Ok(false),
        }
    }

    /// `true`: the code matched; `false`: the route has no such secret.
    fn verify(&self, inbound: &Inbound, role: &str) -> Result<bool, Rejection> {
        let values = inbound.header(&self.header);
        let code = match values.as_slice() {
            // The trimmed value, where it has the prefix; an empty code matches nothing.
            [one] => one.trim_ascii().strip_prefix(self.prefix.as_str()).unwrap_or_default(),
            _ => "",
        };
        let sorted = match self.input {
            MacInput::SortedJson if !code.is_empty() => Some(json::to_sorted(inbound.text()?)?),
            MacInput::SortedJson | MacInput::Raw => None,
        };
        let message = sorted.as_ref().map_or(Part::Body, |text| Part::Bytes(text.as_bytes()));
        let mac = Mac {
            role,
            algorithm: MacAlgorithm::HmacSha256,
            key: KeyEncoding::Utf8,
            presented: code,
            encoding: match self.encoding {
                MacEncoding::Hex => Encoding::Hex,
                MacEncoding::Base64 => Encoding::Base64,
            },
        };
        // Asked even where nothing was presented: only the gateway knows whether the route has
        // the secret.
        let verdict = mac.verify(&[message]);
        match (verdict.found(), values.len()) {
            (Found::Mismatched, 0) => {
                Err(Rejection::unauthorized("header_missing", "no signature header"))
            }
            (Found::Mismatched, 2..) => {
                Err(Rejection::unauthorized("header_repeated", "several signature headers"))
            }
            _ => verdict.or_refuse(),
        }
    }
}
