//! `verification`: verdicts on the route's secrets. The guest is told the verdict and nothing else.

use std::str::FromStr;
use std::sync::Arc;

use crate::adapter::ReceiveCall;
use crate::adapter::host::{Breach, Host, Subject};
use crate::adapter::text::tame;
use crate::adapter::v1::sluice::adapter::verification::{self, Part, Verdict};
use crate::model::{Found, Proof, UnixMillis, VerdictRecord};
use crate::verification as verdicts;
use crate::verification::Misasked;

/// Longest word of a guest that is shown, in bytes.
const WORD_BYTES_MAX: usize = 64;

/// Longest complaint about a question, in bytes: it holds a name, which is the guest's text.
const MISASKED_BYTES_MAX: usize = 160;

/// A message and what was presented for it, as the guest gave them.
struct Signature {
    secret: String,
    message: Vec<Part>,
    presented: String,
    presented_encoding: String,
}

impl Host {
    fn judge(
        &mut self,
        import: &str,
        record: Result<VerdictRecord, Misasked>,
    ) -> wasmtime::Result<Verdict> {
        let record = record.map_err(|misasked| {
            let misasked = tame(&misasked.to_string(), MISASKED_BYTES_MAX);
            Breach::error(format!("{import}: {misasked}"))
        })?;
        let found = record.found;
        self.verdicts.push(record);
        let version = match found {
            Found::Matched { version } => Some(version),
            Found::MatchedExpired
            | Found::Mismatched
            | Found::Missing
            | Found::Repeated
            | Found::NotConfigured => None,
        };
        Ok(Verdict { found: found.as_guest_str().to_owned(), version, extra: Vec::new() })
    }

    /// Judges a signed message. Charged for before it is hashed.
    fn judge_signed(
        &mut self,
        import: &str,
        signature: &Signature,
        proof: Proof,
        verify: impl FnOnce(
            &verdicts::RouteSecrets,
            &verdicts::Signed<'_>,
            UnixMillis,
        ) -> Result<VerdictRecord, Misasked>,
    ) -> wasmtime::Result<Verdict> {
        let call = self.asked_for_verdict(import)?;
        let (secrets, inbound) = (call.secrets.clone(), call.inbound.clone());
        if let Some(record) = self.verdict_before(&signature.secret, proof) {
            return self.judge(import, Ok(record));
        }
        let message = parts(import, &signature.message)?;
        let body = self.received_body(&inbound);
        let signed = verdicts::Signed {
            message: &message,
            body: &body,
            presented: &signature.presented,
            encoding: word(import, "encoding", &signature.presented_encoding)?,
        };
        self.spend_compared(&secrets, &signature.secret, signed.message_len())?;
        let record = verify(&secrets, &signed, inbound.received_at);
        self.judge(import, record)
    }

    /// Charges for bytes that are hashed once for each value of a secret; once where there is
    /// none, since to put them together is work, too.
    fn spend_compared(
        &mut self,
        secrets: &verdicts::RouteSecrets,
        role: &str,
        bytes: usize,
    ) -> wasmtime::Result<()> {
        self.spend_hashed_bytes(bytes.saturating_mul(secrets.versions(role).max(1)))
    }

    /// In a call that runs again from its record: the recorded verdict.
    fn recorded(
        &mut self,
        import: &str,
        role: &str,
        proof: Proof,
    ) -> wasmtime::Result<Option<Verdict>> {
        let is_recorded = matches!(
            &self.subject,
            Subject::Receive(call) if call.recorded.is_some() && !self.configuring
        );
        if !is_recorded {
            return Ok(None);
        }
        let before = self.verdicts.len();
        let recorded = self.asked_for_verdict(import)?.recorded.clone();
        match recorded.and_then(|recorded| recorded.after(before, role, proof)) {
            Some(verdict) => self.judge(import, Ok(verdict)).map(Some),
            None => Err(Breach::error(format!(
                "{import}: asks for a verdict that the record of the request does not hold"
            ))),
        }
    }

    /// Counts a question for a verdict, before any work is done for it.
    fn asked_for_verdict(&mut self, import: &str) -> wasmtime::Result<&ReceiveCall> {
        self.may_judge()?;
        self.receiving(import)
    }
}

impl verification::Host for Host {
    fn verify_mac(
        &mut self,
        secret: String,
        algorithm: String,
        key_encoding: String,
        message: Vec<Part>,
        presented: String,
        presented_encoding: String,
    ) -> wasmtime::Result<Verdict> {
        let import = "verification.verify-mac";
        if let Some(verdict) = self.recorded(import, &secret, Proof::Mac)? {
            return Ok(verdict);
        }
        let scheme = verdicts::MacScheme {
            algorithm: word(import, "algorithm", &algorithm)?,
            key: word(import, "key encoding", &key_encoding)?,
        };
        let signature = Signature { secret, message, presented, presented_encoding };
        self.judge_signed(import, &signature, Proof::Mac, |secrets, signed, now| {
            secrets.verify_mac(&signature.secret, scheme, signed, now)
        })
    }

    fn verify_header(&mut self, secret: String) -> wasmtime::Result<Verdict> {
        let import = "verification.verify-header";
        if let Some(verdict) = self.recorded(import, &secret, Proof::Header)? {
            return Ok(verdict);
        }
        let call = self.asked_for_verdict(import)?;
        let record = call.secrets.verify_header(&secret, &call.presented, call.inbound.received_at);
        self.judge(import, record)
    }

    fn verify_query(&mut self, secret: String) -> wasmtime::Result<Verdict> {
        let import = "verification.verify-query";
        if let Some(verdict) = self.recorded(import, &secret, Proof::Query)? {
            return Ok(verdict);
        }
        let call = self.asked_for_verdict(import)?;
        let record = call.secrets.verify_query(&secret, &call.presented, call.inbound.received_at);
        self.judge(import, record)
    }

    fn verify_equal(&mut self, secret: String, presented: String) -> wasmtime::Result<Verdict> {
        let import = "verification.verify-equal";
        if let Some(verdict) = self.recorded(import, &secret, Proof::Equal)? {
            return Ok(verdict);
        }
        let call = self.asked_for_verdict(import)?;
        let (secrets, now) = (Arc::clone(&call.secrets), call.inbound.received_at);
        if let Some(record) = self.verdict_before(&secret, Proof::Equal) {
            return self.judge(import, Ok(record));
        }
        self.spend_compared(&secrets, &secret, presented.len())?;
        let record = secrets.verify_equal(&secret, presented.as_bytes(), now);
        self.judge(import, record)
    }

    fn verify_signature(
        &mut self,
        secret: String,
        algorithm: String,
        message: Vec<Part>,
        presented: String,
        presented_encoding: String,
    ) -> wasmtime::Result<Verdict> {
        let import = "verification.verify-signature";
        if let Some(verdict) = self.recorded(import, &secret, Proof::PublicKey)? {
            return Ok(verdict);
        }
        let algorithm = word(import, "algorithm", &algorithm)?;
        let signature = Signature { secret, message, presented, presented_encoding };
        self.judge_signed(import, &signature, Proof::PublicKey, |secrets, signed, now| {
            secrets.verify_signature(&signature.secret, algorithm, signed, now)
        })
    }
}

fn parts<'m>(import: &str, message: &'m [Part]) -> wasmtime::Result<Vec<verdicts::Part<'m>>> {
    message
        .iter()
        .map(|part| match part.kind.as_str() {
            "bytes" => Ok(verdicts::Part::Bytes(&part.bytes)),
            "body" => Ok(verdicts::Part::Body),
            other => Err(Breach::error(format!(
                "{import}: a part is `bytes` or `body`, not `{}`",
                tame(other, WORD_BYTES_MAX)
            ))),
        })
        .collect()
}

/// Reads a word of a closed set. An unknown one is a mistake in the plugin, and told as such: a
/// verdict of `mismatched` would blame the provider.
fn word<W: FromStr>(import: &str, what: &str, text: &str) -> wasmtime::Result<W> {
    text.parse().map_err(|_| {
        Breach::error(format!("{import}: unknown {what} `{}`", tame(text, WORD_BYTES_MAX)))
    })
}
