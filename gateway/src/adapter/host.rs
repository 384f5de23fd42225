//! What the host keeps of one call: what it is about, what it may still ask, what is recorded.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::ResourceLimiter;

use super::budget::Budget;
use super::log_budget::LogBudget;
use super::redaction::Redactions;
use super::state::CallState;
use super::{OtherCall, ReceiveCall};
use crate::model::{CallReads, InboundRequest, PluginVersion, Proof, VerdictRecord};
use crate::telemetry::adapter::GuestLevel;

/// Calls of imports in one call. A batch of a thousand events asks a few times per event.
const HOST_CALLS_MAX: u32 = 10_000;

/// Verdicts in one call, as the contract says. Real schemes need one or two; each is also a guess
/// at a secret, and sixteen guesses are none.
const VERDICTS_MAX: usize = 16;

/// Log lines of one call, and their bytes.
const LOG_LINES_MAX: u32 = 1_000;
const LOG_BYTES_MAX: usize = 256 << 10;

/// `seen` questions of one call: two for each event that an outcome may have. All are recorded
/// with the request.
const SEEN_MAX: usize = 512;

/// Message bytes that may be hashed in one call, beyond four times the body: hashing is time in
/// which no deadline can interrupt.
const HASHED_BYTES_BASE: usize = 1 << 20;

/// How much more than one memory all memories of a component may hold together. Guests in
/// interpreted languages have several, of which two or three are large.
const MEMORY_TOTAL_FACTOR: usize = 4;

/// Bodies up to this size, in bytes, need no more memory than any call has.
const BODY_IN_BASE_MEMORY: usize = 1 << 20;

/// Memory for each byte of a larger body: the body, the text of it that is read, and the data of
/// the events that is written, twice while it grows.
const MEMORY_PER_BODY_BYTE: usize = 6;

/// Elements of one table. `StarlingMonkey` has 7,690, a Rust guest about 100.
pub(super) const TABLE_ELEMENTS: usize = 10_000;

/// What one component may consist of. A Rust guest is three core instances with one memory;
/// Python (38, 10 and 12) is the largest that is known to work.
pub(super) const CORE_INSTANCES: u32 = 48;
pub(super) const MEMORIES: u32 = 10;
pub(super) const TABLES: u32 = 20;

/// A breach of the contract by the guest; ends the call as a trap.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Breach(pub(super) String);

impl Breach {
    pub(super) fn error(message: impl Into<String>) -> wasmtime::Error {
        wasmtime::Error::new(Self(message.into()))
    }
}

/// What a call is about.
pub(super) enum Subject {
    /// `describe` or `configure`: only `log` answers.
    Loading(Exported),
    Receive(ReceiveCall),
    /// `consume` or `view`: no request and no secrets.
    Other(Exported, OtherCall),
}

/// A function that adapters export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exported {
    Describe,
    Configure,
    Receive,
    Consume,
    View,
}

impl Exported {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Configure => "configure",
            Self::Receive => "receive",
            Self::Consume => "consume",
            Self::View => "view",
        }
    }
}

/// What all calls of one adapter share.
pub(super) struct Shared {
    pub(super) version: Arc<PluginVersion>,
    pub(super) log: LogBudget,
}

impl Shared {
    pub(super) fn of(version: impl Into<Arc<PluginVersion>>) -> Self {
        Self { version: version.into(), log: LogBudget::start() }
    }
}

/// What a call is told that runs once more, on a request of which parts are masked now.
pub(super) struct Before {
    /// The body as received.
    pub(super) body: Bytes,
    /// The verdicts of the run before, in order.
    pub(super) verdicts: Vec<VerdictRecord>,
}

/// The data of one call's store.
pub(super) struct Host {
    pub(super) shared: Arc<Shared>,
    pub(super) subject: Subject,
    pub(super) before: Option<Before>,
    pub(super) redactions: Redactions,
    /// What `receive` logged: written once it is known that it may be.
    pub(super) lines: Vec<(GuestLevel, String)>,
    /// The last line that it logged as an error: where the SDK says that a panic was.
    pub(super) last_error: Option<String>,
    pub(super) verdicts: Vec<VerdictRecord>,
    pub(super) reads: CallReads,
    pub(super) state: CallState,
    pub(super) space: Space,
    pub(super) budget: Budget,
    /// Set where the adapter's settings are taken up at the start of the call itself: until then
    /// only `log` answers.
    pub(super) configuring: bool,
    host_calls_left: u32,
    log_lines_left: u32,
    log_bytes_left: usize,
    hashed_bytes_left: usize,
}

impl Host {
    pub(super) fn new(
        shared: Arc<Shared>,
        subject: Subject,
        memory: usize,
        budget: Budget,
    ) -> Self {
        let body_max = match &subject {
            Subject::Receive(call) => call.body_max,
            Subject::Loading(_) | Subject::Other(..) => 0,
        };
        let memory = call_memory(memory, body_max);
        Self {
            shared,
            subject,
            before: None,
            redactions: Redactions::default(),
            lines: Vec::new(),
            last_error: None,
            verdicts: Vec::new(),
            reads: CallReads::default(),
            state: CallState::default(),
            space: Space {
                each: memory,
                total_left: memory.saturating_mul(MEMORY_TOTAL_FACTOR),
                refused: false,
            },
            budget,
            configuring: false,
            host_calls_left: HOST_CALLS_MAX,
            log_lines_left: LOG_LINES_MAX,
            log_bytes_left: LOG_BYTES_MAX,
            hashed_bytes_left: body_max.saturating_mul(4).saturating_add(HASHED_BYTES_BASE),
        }
    }

    pub(super) const fn exported(&self) -> Exported {
        match &self.subject {
            _ if self.configuring => Exported::Configure,
            Subject::Loading(exported) | Subject::Other(exported, _) => *exported,
            Subject::Receive(_) => Exported::Receive,
        }
    }

    /// Counts one call of an import.
    pub(super) fn count_host_call(&mut self) -> wasmtime::Result<()> {
        match self.host_calls_left.checked_sub(1) {
            Some(left) => {
                self.host_calls_left = left;
                Ok(())
            }
            None => Err(Breach::error(format!("more than {HOST_CALLS_MAX} calls of imports"))),
        }
    }

    /// Counts one call of an import that only a call with a subject may make, and gives it.
    pub(super) fn asked(&mut self, import: &str) -> wasmtime::Result<&Subject> {
        self.count_host_call()?;
        match &self.subject {
            Subject::Receive(_) | Subject::Other(..) if !self.configuring => Ok(&self.subject),
            Subject::Loading(_) | Subject::Receive(_) | Subject::Other(..) => {
                Err(self.refused(import))
            }
        }
    }

    /// The same for what only `receive` may ask.
    pub(super) fn receiving(&mut self, import: &str) -> wasmtime::Result<&ReceiveCall> {
        self.count_host_call()?;
        match &self.subject {
            Subject::Receive(call) if !self.configuring => Ok(call),
            Subject::Loading(_) | Subject::Receive(_) | Subject::Other(..) => {
                Err(self.refused(import))
            }
        }
    }

    fn refused(&self, import: &str) -> wasmtime::Error {
        Breach::error(format!("`{import}` is not there in `{}`", self.exported().as_str()))
    }

    /// Whether there may be one more verdict. Asked before it is found: each costs hashing.
    pub(super) fn may_judge(&self) -> wasmtime::Result<()> {
        if self.verdicts.len() < VERDICTS_MAX {
            Ok(())
        } else {
            Err(Breach::error(format!("more than {VERDICTS_MAX} verdicts")))
        }
    }

    /// The call with the request as it may be kept, where the run asked to have parts masked.
    pub(super) fn masked(&self) -> Option<ReceiveCall> {
        match &self.subject {
            Subject::Receive(call) if !self.redactions.is_empty() => {
                Some(ReceiveCall { inbound: self.redactions.masked(&call.inbound), ..call.clone() })
            }
            Subject::Receive(_) | Subject::Loading(_) | Subject::Other(..) => None,
        }
    }

    /// The body as received. `inbound`: what this run reads.
    pub(super) fn received_body(&self, inbound: &InboundRequest) -> Bytes {
        self.before.as_ref().map_or(&inbound.body, |before| &before.body).clone()
    }

    /// The verdict that the run before was given as an answer to the same question.
    ///
    /// The same is asked in the same order, or it is another question and judged anew.
    pub(super) fn verdict_before(&self, role: &str, proof: Proof) -> Option<VerdictRecord> {
        let record = self.before.as_ref()?.verdicts.get(self.verdicts.len())?;
        (record.role == role && record.proof == proof).then(|| record.clone())
    }

    pub(super) fn may_ask_seen(&self) -> wasmtime::Result<()> {
        if self.reads.seen.len() < SEEN_MAX {
            Ok(())
        } else {
            Err(Breach::error(format!("more than {SEEN_MAX} questions of `seen`")))
        }
    }

    pub(super) fn spend_log_line(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let lines = self.log_lines_left.checked_sub(1);
        let left = self.log_bytes_left.checked_sub(bytes);
        let (Some(lines), Some(left)) = (lines, left) else {
            return Err(Breach::error(format!(
                "more than {LOG_LINES_MAX} log lines or {} KiB of log",
                LOG_BYTES_MAX >> 10
            )));
        };
        self.log_lines_left = lines;
        self.log_bytes_left = left;
        Ok(())
    }

    pub(super) fn spend_hashed_bytes(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.hashed_bytes_left = self
            .hashed_bytes_left
            .checked_sub(bytes)
            .ok_or_else(|| Breach::error("more signed bytes to check than a call may ask for"))?;
        Ok(())
    }
}

/// Linear memory of a call, in bytes: `base`, and room for a larger body than that is for.
pub(super) const fn call_memory(base: usize, body_max: usize) -> usize {
    let beyond = body_max.saturating_sub(BODY_IN_BASE_MEMORY);
    base.saturating_add(beyond.saturating_mul(MEMORY_PER_BODY_BYTE))
}

/// Linear memory and tables of one call.
pub(super) struct Space {
    /// Bytes of one memory.
    each: usize,
    /// Bytes of all memories together that are still to be had.
    total_left: usize,
    /// Whether something was refused: a guest that was refused memory traps somewhere else.
    pub(super) refused: bool,
}

impl ResourceLimiter for Space {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let left = self.total_left.checked_sub(desired.saturating_sub(current));
        match left {
            Some(left) if desired <= self.each => {
                self.total_left = left;
                Ok(true)
            }
            Some(_) | None => {
                self.refused = true;
                Ok(false)
            }
        }
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= TABLE_ELEMENTS;
        self.refused |= !granted;
        Ok(granted)
    }

    fn instances(&self) -> usize {
        usize::try_from(CORE_INSTANCES).unwrap_or(usize::MAX)
    }

    fn tables(&self) -> usize {
        usize::try_from(TABLES).unwrap_or(usize::MAX)
    }

    fn memories(&self) -> usize {
        usize::try_from(MEMORIES).unwrap_or(usize::MAX)
    }
}
