//! The machine that a figure is from: without it a figure says nothing.
//!
//! Owns: what a report tells of the host.

use std::fs;

use nix::sys::utsname::uname;
use serde::Serialize;

use crate::clock::wall_millis;

/// The machine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// The CPU's name.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// System and version of the kernel.
    pub kernel: String,
    /// Load of the last minute before the run: 0 for a quiet machine.
    pub load: f64,
    /// When the run began: date and time in UTC.
    pub at: String,
}

impl Machine {
    /// Looks at this host; what it does not tell is left empty.
    pub fn look() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, rest)| rest.trim().to_owned())
        };
        let kilobytes = after(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kilobytes = kilobytes.split(' ').next().and_then(|number| number.parse().ok());
        let load = read("/proc/loadavg");
        let system = uname().map(|name| {
            format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
        });
        let now = jiff::Timestamp::from_millisecond(wall_millis().cast_signed());
        Machine {
            cpu: after(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cpus: core_affinity::get_core_ids().map_or(0, |cpus| cpus.len()),
            memory_bytes: kilobytes.unwrap_or(0u64) * 1_024,
            kernel: system.unwrap_or_default(),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            at: now.map(|now| now.strftime("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default(),
        }
    }
}
