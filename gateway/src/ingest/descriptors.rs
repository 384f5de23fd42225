//! File descriptors: each connection takes one, and the rest of the gateway needs some too.

use rlimit::Resource;

use crate::faults::Fault;
use crate::telemetry::Happening as _;
use crate::telemetry::ingest::DescriptorsFew;

/// Descriptors that connections leave free: for storage (some twenty), the admin side's connections,
/// deliveries (16 a destination by default), one connection of each listener that waits for a place,
/// files and components that a reload reads.
const RESERVED: u64 = 256;

/// Raises this process's limit as far as the system allows without asking: it is low by tradition,
/// for programs that use `select`.
pub(crate) fn raise_limit() {
    // Where it cannot be raised, fewer connections are taken.
    rlimit::increase_nofile_limit(u64::MAX).ok();
}

/// As many connections as are configured, or fewer where the process may not have descriptors for
/// them: whoever opens more waits in the kernel, and never takes the last one from storage or from
/// the admin side.
pub(super) fn connections_max(configured: usize) -> usize {
    let Ok((limit, _)) = Resource::NOFILE.get() else { return configured };
    let most = affordable(limit);
    if configured <= most || Fault::UseAllDescriptors.is_on() {
        return configured;
    }
    DescriptorsFew { configured, connections_max: most, descriptors: limit }.emit();
    most
}

/// Of a small number, a quarter is for connections all the same.
fn affordable(limit: u64) -> usize {
    let most = limit.saturating_sub(RESERVED).max(limit / 4).max(1);
    usize::try_from(most).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_what_is_reserved() {
        assert_eq!(affordable(1_048_576), 1_048_320);
        assert_eq!(affordable(1_024), 768);
        assert_eq!(affordable(300), 75);
        assert_eq!(affordable(0), 1);
        assert_eq!(affordable(u64::MAX), usize::MAX - 256);
    }
}
