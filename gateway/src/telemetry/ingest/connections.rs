//! Happenings of connections and listeners.

use std::time::Duration;

use metrics::counter;

use crate::telemetry::{Happening, millis};

/// All permitted connections are open: silent ones make room, or whoever comes has to wait.
#[derive(Debug)]
pub struct ConnectionsAtLimit {
    pub connections_max: usize,
}

impl Happening for ConnectionsAtLimit {
    fn emit(self) {
        tracing::warn!(
            connections_max = self.connections_max,
            "All permitted connections are open; silent ones are closed for those that come."
        );
        counter!("sluice_connections_limited_total").increment(1);
    }
}

/// The process may not have descriptors for as many connections as are configured.
#[derive(Debug)]
pub struct DescriptorsFew {
    pub configured: usize,
    /// What is taken instead.
    pub connections_max: usize,
    /// What the process may have.
    pub descriptors: u64,
}

impl Happening for DescriptorsFew {
    fn emit(self) {
        tracing::warn!(
            configured = self.configured,
            connections_max = self.connections_max,
            descriptors = self.descriptors,
            "Fewer connections are taken than configured: the limit of open files is low."
        );
    }
}

/// A connection could not be accepted.
#[derive(Debug)]
pub struct AcceptFailed<'a> {
    pub error: &'a std::io::Error,
    /// Until the next try, where the cause is not that one connection.
    pub pause: Option<Duration>,
}

impl Happening for AcceptFailed<'_> {
    fn emit(self) {
        let error = crate::telemetry::chain(self.error);
        if let Some(pause) = self.pause {
            tracing::error!(error, pause_ms = millis(pause), "Connections cannot be accepted.");
        } else {
            tracing::debug!(error, "A connection ended before it was accepted.");
        }
        let of = if self.pause.is_some() { "resources" } else { "connection" };
        counter!("sluice_accept_errors_total", "of" => of).increment(1);
    }
}

/// A connection ended.
#[derive(Debug)]
pub struct ConnectionEnded {
    /// `closed`, `malformed`, `broken`, `proxy_header`, `handshake`, `wasteful`, `displaced` where it
    /// made room for another, or what took too long: `opening`, `head`, `answering`, `idle`, `closing`, and `silent` where a ping was not
    /// answered.
    pub reason: &'static str,
}

impl Happening for ConnectionEnded {
    fn emit(self) {
        tracing::debug!(reason = self.reason, "Connection ended.");
        counter!("sluice_connections_ended_total", "reason" => self.reason).increment(1);
    }
}

/// A connection from a trusted proxy did not begin with a PROXY header, and was closed.
#[derive(Debug)]
pub struct ProxyHeaderRefused {
    /// What came instead.
    pub detail: &'static str,
    /// Whether to write the line: [`LogBudget::take`].
    pub told: bool,
}

impl Happening for ProxyHeaderRefused {
    fn emit(self) {
        if self.told {
            let detail = self.detail;
            tracing::warn!(
                detail,
                "A trusted proxy sent no PROXY header, which `ingest.forwarded` asks for."
            );
        }
        counter!("sluice_proxy_headers_refused_total").increment(1);
    }
}

/// A connection's task panicked: a bug, contained.
#[derive(Debug)]
pub struct ConnectionPanicked<'a> {
    pub error: &'a tokio::task::JoinError,
}

impl Happening for ConnectionPanicked<'_> {
    fn emit(self) {
        // Not the panic's own text: it may quote what was being read.
        tracing::error!(task = %self.error.id(), "A connection's task panicked.");
        counter!("sluice_connections_ended_total", "reason" => "panicked").increment(1);
    }
}

/// Ingest stopped accepting and finishes what was started.
#[derive(Debug)]
pub struct DrainBegan {
    pub connections: usize,
    pub deadline: Duration,
}

impl Happening for DrainBegan {
    fn emit(self) {
        tracing::info!(
            connections = self.connections,
            deadline_ms = millis(self.deadline),
            "Ingest stopped accepting and drains."
        );
    }
}

/// The drain is over.
#[derive(Debug)]
pub struct DrainEnded {
    /// Connections that were cut off because they had not ended by the deadline.
    pub connections_left: usize,
    pub took: Duration,
}

impl Happening for DrainEnded {
    fn emit(self) {
        let took_ms = millis(self.took);
        if self.connections_left == 0 {
            tracing::info!(took_ms, "Ingest drained.");
        } else {
            let connections_left = self.connections_left;
            tracing::warn!(took_ms, connections_left, "Ingest was not drained in time.");
        }
    }
}
