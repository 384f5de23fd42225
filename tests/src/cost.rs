//! What a process costs the machine, as exactly as Linux tells it.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// What a process has had of the processors so far, in its threads that still run: what else the
/// machine does is not in it.
///
/// # Errors
///
/// Where the process has ended.
pub fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("reading a process's threads")?;
    // A thread may end meanwhile.
    let texts =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    let nanos = texts.filter_map(|text| ran(&text)).sum();
    Ok(Duration::from_nanos(nanos))
}

/// The same of the thread that asks.
///
/// # Errors
///
/// Where Linux does not say.
pub fn own_processor_time() -> anyhow::Result<Duration> {
    let text =
        fs::read_to_string("/proc/thread-self/schedstat").context("reading a thread's time")?;
    ran(&text).map(Duration::from_nanos).context("a thread's time")
}

/// The first number, in nanoseconds.
fn ran(schedstat: &str) -> Option<u64> {
    schedstat.split(' ').next()?.parse().ok()
}

/// Memory that a process holds now, in bytes.
///
/// # Errors
///
/// Where the process has ended.
pub fn memory(pid: u32) -> anyhow::Result<u64> {
    of_status(pid, "VmRSS:")
}

/// The most memory that a process has ever held, or since [`forget_peak_memory`], in bytes.
///
/// # Errors
///
/// Where the process has ended.
pub fn peak_memory(pid: u32) -> anyhow::Result<u64> {
    of_status(pid, "VmHWM:")
}

/// Counts [`peak_memory`] from now on.
///
/// # Errors
///
/// Where it is not our process.
pub fn forget_peak_memory(pid: u32) -> anyhow::Result<()> {
    // proc(5): 5 resets the peak.
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("forgetting a peak of memory")
}

fn of_status(pid: u32, field: &str) -> anyhow::Result<u64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("reading a process's status")?;
    bytes(&status, field).with_context(|| format!("no {field} in a process's status"))
}

fn bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tsluice\nVmPeak:\t  999 kB\nVmHWM:\t    1536 kB\nVmRSS:\t 7 kB\n";
        assert_eq!(bytes(status, "VmHWM:"), Some(1_572_864));
        assert_eq!(bytes(status, "VmRSS:"), Some(7_168));
        assert_eq!(bytes("Name:\tsluice\n", "VmHWM:"), None);
    }

    #[test]
    fn a_thread_is_told_its_own_time() {
        let before = own_processor_time().unwrap();
        while own_processor_time().unwrap() < before + Duration::from_millis(2) {}
        assert!(processor_time(std::process::id()).unwrap() >= Duration::from_millis(2));
    }
}
