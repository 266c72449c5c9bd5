//! What processes and threads of this host used: /proc read and understood (proc(5)).
//!
//! Owns: the parsing. Numbers that cannot be read are 0: a bench goes on without them.

use std::fs;

use serde::Serialize;

/// Units of time in /proc/PID/stat, in microseconds: USER_HZ is 100 on Linux.
const TICK_US: u64 = 10_000;

/// What one thread used since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Its name.
    pub name: String,
    /// CPU time in microseconds.
    pub cpu_us: u64,
    /// Times that it gave the CPU away to wait.
    pub waits: u64,
    /// Times that the CPU was taken from it.
    pub preemptions: u64,
}

/// What this process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident now, in bytes.
    pub rss: u64,
    /// Most that was ever resident, in bytes.
    pub peak: u64,
}

/// Every thread of this process.
pub fn threads() -> Vec<Thread> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let thread = |path: std::path::PathBuf| {
        let read = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
        let status = read("status");
        let scheduled = read("schedstat");
        let nanos: u64 = scheduled.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        Thread {
            name: read("comm").trim_end().to_owned(),
            cpu_us: nanos / 1_000,
            waits: field(&status, "voluntary_ctxt_switches:"),
            preemptions: field(&status, "nonvoluntary_ctxt_switches:"),
        }
    };
    tasks.flatten().map(|task| thread(task.path())).collect()
}

/// What this process holds in memory.
pub fn memory() -> Memory {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name| field(&status, name) * 1_024;
    Memory { rss: bytes("VmRSS:"), peak: bytes("VmHWM:") }
}

/// Open descriptors of this process.
pub fn descriptors() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// TCP connections that wait out their end in this network namespace, and hold a port.
pub fn time_waits() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let mut words = line.split(' ').skip_while(|word| *word != "tw").skip(1);
    words.next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// CPU time of another process, in microseconds, to 10 ms.
pub fn process_cpu_us(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat_cpu_us(&stat)
}

/// User and system time in a line of /proc/PID/stat; the name in it may hold anything.
fn stat_cpu_us(stat: &str) -> u64 {
    let Some((_, rest)) = stat.rsplit_once(") ") else { return 0 };
    let number = |index| rest.split(' ').nth(index).and_then(|n| n.parse::<u64>().ok());
    // Fields 14 and 15, and the state after the name is field 3.
    (number(11).unwrap_or(0) + number(12).unwrap_or(0)) * TICK_US
}

/// CPU time of the whole host that was not idle, and all of it, in ticks.
pub fn host_cpu() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    let all: u64 = times.iter().take(8).sum();
    let idle: u64 = times.iter().skip(3).take(2).sum();
    (all - idle, all)
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 1 0 5 0 0";
        assert_eq!(stat_cpu_us(stat), 4_000_000);
        assert_eq!(stat_cpu_us("nothing"), 0);
    }

    #[test]
    fn this_process_has_this_thread_and_some_memory() {
        std::thread::Builder::new()
            .name("seen".to_owned())
            .spawn(|| assert!(threads().iter().any(|thread| thread.name == "seen")))
            .unwrap()
            .join()
            .unwrap();
        let Memory { rss, peak } = memory();
        assert!(rss > 1 << 20 && peak >= rss, "{rss} {peak}");
        assert!(descriptors() >= 3);
        let (busy, all) = host_cpu();
        assert!(busy > 0 && all >= busy);
    }
}
