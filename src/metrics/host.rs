//! What the process takes from its host, and how hard pressed the host is.
//!
//! Owns: reading `/proc`, at each scrape: about 0.2 ms. A file that is not there leaves its samples
//! out, as in a container that hides it.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

use crate::metrics::text::{Sort, Text};

/// Writes everything that this host tells.
pub fn write(text: &mut Text) {
    process(text);
    sockets(text);
    pressure(text);
}

fn process(text: &mut Text) {
    let mut one = |name: &str, help: &str, sort: Sort, value: Option<f64>| {
        if let Some(value) = value {
            text.family(name, help, sort);
            text.sample(&[], value);
        }
    };
    let stat = read("/proc/self/stat").and_then(|stat| Stat::parse(&stat));
    let cpu = stat.as_ref().map(|stat| stat.cpu_s);
    one("process_cpu_seconds", "CPU time in and outside the kernel", Sort::Counter, cpu);
    let memory = stat.as_ref().map(|stat| stat.resident_bytes);
    one("process_resident_memory_bytes", "Memory in use", Sort::Gauge, memory);
    let threads = stat.as_ref().map(|stat| stat.threads);
    one("process_threads", "Threads", Sort::Gauge, threads);
    let start = stat.as_ref().and_then(|stat| Some(stat.start_s + boot_s()?));
    one("process_start_time_seconds", "Start, since the Unix epoch", Sort::Gauge, start);
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64 - 1.0);
    one("process_open_fds", "Open descriptors", Sort::Gauge, open);
    let limit = getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft as f64);
    one("process_max_fds", "Descriptors that may be open", Sort::Gauge, limit);
}

/// The line of proc_pid_stat(5), as far as it is shown.
struct Stat {
    cpu_s: f64,
    threads: f64,
    /// Since the host was started.
    start_s: f64,
    resident_bytes: f64,
}

impl Stat {
    fn parse(line: &str) -> Option<Stat> {
        let ticks_s = sysconf(SysconfVar::CLK_TCK).ok()?? as f64;
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE).ok()?? as f64;
        // The name of the program may hold blanks and parentheses.
        let (_, rest) = line.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        // Numbered from 3 there.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Stat {
            cpu_s: (field(14)? + field(15)?) / ticks_s,
            threads: field(20)?,
            start_s: field(22)? / ticks_s,
            resident_bytes: field(24)? * page_bytes,
        })
    }
}

/// When the host was started, in seconds since the Unix epoch.
fn boot_s() -> Option<f64> {
    let stat = read("/proc/stat")?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn sockets(text: &mut Text) {
    if let Some(found) = read("/proc/net/sockstat") {
        let tcp = found.lines().find_map(|line| line.strip_prefix("TCP: "));
        let words: Vec<&str> = tcp.unwrap_or_default().split(' ').collect();
        let states = [("inuse", "in_use"), ("orphan", "orphan"), ("tw", "time_wait")];
        text.family("engine_host_tcp_sockets", "TCP sockets of this host", Sort::Gauge);
        for (word, state) in states {
            let count = words.chunks(2).find(|pair| pair[0] == word).and_then(|pair| pair.get(1));
            if let Some(count) = count.and_then(|count| count.parse().ok()) {
                text.sample(&[("state", state)], count);
            }
        }
    }
    let range = read("/proc/sys/net/ipv4/ip_local_port_range");
    let ends: Vec<f64> = range
        .iter()
        .flat_map(|range| range.split_whitespace())
        .filter_map(|end| end.parse().ok())
        .collect();
    if let [first, last] = ends[..] {
        let help = "Ports for connections to one address and port";
        text.family("engine_host_local_ports", help, Sort::Gauge);
        text.sample(&[], last - first + 1.0);
    }
}

/// Pressure stall information (Documentation/accounting/psi.rst of Linux).
fn pressure(text: &mut Text) {
    let resources = ["cpu", "memory", "io"];
    let found = resources.map(|resource| (resource, read(&format!("/proc/pressure/{resource}"))));
    if found.iter().all(|(_, found)| found.is_none()) {
        return;
    }
    let help = "Time in which some or all tasks of this host waited for a resource";
    text.family("engine_host_pressure_seconds", help, Sort::Counter);
    for (resource, found) in found {
        for line in found.iter().flat_map(|found| found.lines()) {
            let (share, rest) = line.split_once(' ').unwrap_or_default();
            let total = rest.rsplit_once("total=").and_then(|(_, total)| total.parse::<f64>().ok());
            if let Some(micros) = total {
                text.sample(&[("resource", resource), ("share", share)], micros / 1e6);
            }
        }
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::text::Format;

    #[test]
    fn a_program_with_blanks_in_its_name_is_read_all_the_same() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 9 0 1000 99 3 1844";
        let stat = Stat::parse(line).unwrap();
        let ticks_s = sysconf(SysconfVar::CLK_TCK).unwrap().unwrap() as f64;
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE).unwrap().unwrap() as f64;
        assert_eq!((stat.cpu_s, stat.threads), (400.0 / ticks_s, 9.0));
        assert_eq!((stat.start_s, stat.resident_bytes), (1_000.0 / ticks_s, 3.0 * page_bytes));
    }

    #[test]
    fn this_process_has_memory_descriptors_and_a_start() {
        let mut text = Text::new(Format::Prometheus);
        write(&mut text);
        let text = text.take();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_start_time_seconds") > 1.7e9);
        assert!(value("engine_host_local_ports") > 1_000.0);
    }
}
