//! Looks at the host before anything is started: each trouble in one line, with cause and remedy.
//!
//! Owns: what the engine needs from kernel, limits, rights and disk. Reads only; the one thing it
//! can change is the soft descriptor limit ([`raise_descriptor_limit`]). glommio ends the process
//! without a word of help when a ring cannot be made, so this runs before glommio is touched.
//! Files of /proc and /run are read below a root that the caller names, so that tests use a tree
//! of their own. Takes about a millisecond.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{AccessFlags, eaccess, getegid, getgroups};
use serde::Serialize;

use crate::limits::{
    DESCRIPTORS_RESERVED, INFLIGHT_DEFAULT, INFLIGHT_MIN, SHARD_DESCRIPTORS, SHARD_MEMLOCK_BYTES,
};

mod ring;

/// Local ports below which a warning is given; the kernel's default range has 28,232.
const PORTS_WANTED: u64 = 16_384;
/// TIME_WAIT sockets below which a warning is given; the kernel's default is 4,096 and up.
const TIME_WAIT_WANTED: u64 = 4_096;
/// Entries of connection tracking per probe in flight: a closed connection keeps its entry for
/// 10 s after a reset and 120 s after an orderly close.
const CONNTRACK_PER_PROBE: u64 = 4;

/// Capability numbers (capabilities(7), linux/capability.h).
const CAP_NET_RAW: u32 = 13;
const CAP_IPC_LOCK: u32 = 14;

/// Files that exist while a time service runs, below the root.
const TIME_SERVICES: &[&str] = &[
    "run/systemd/timesync/synchronized",
    "run/chrony/chronyd.pid",
    "run/chronyd.pid",
    "run/ntpd.pid",
    "run/ntpsec/ntpd.pid",
];

/// What is to be started.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Shards, from 1.
    pub shards: usize,
    /// Probes in flight per shard that are asked for.
    pub inflight: usize,
    /// Folder for the database and the spool; it need not exist yet.
    pub data_dir: &'a Path,
    /// Where `proc` and `run` are: `/`, or a tree made by a test.
    pub root: &'a Path,
}

impl<'a> Wanted<'a> {
    /// So many shards with the default number of probes in flight, on this host.
    pub fn new(shards: usize, data_dir: &'a Path) -> Wanted<'a> {
        Wanted { shards, inflight: INFLIGHT_DEFAULT, data_dir, root: Path::new("/") }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// The engine starts; some monitors or some load will suffer.
    Warn,
    /// The engine cannot start.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in one word.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found, and the cause where it is bad.
    pub text: String,
    /// What to do; empty where nothing is to be done.
    pub fix: String,
}

impl Finding {
    fn ok(name: &'static str, text: impl Into<String>) -> Finding {
        Finding { name, level: Level::Ok, text: text.into(), fix: String::new() }
    }

    fn warn(name: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { name, level: Level::Warn, text: text.into(), fix: fix.into() }
    }

    fn fail(name: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { name, level: Level::Fail, text: text.into(), fix: fix.into() }
    }
}

/// Looks at everything, most important first.
pub fn run(wanted: &Wanted) -> Vec<Finding> {
    let tree = Tree { root: wanted.root };
    let capabilities = tree.capabilities();
    vec![
        ring::finding(ring::opcodes_missing(), &tree),
        memlock(limit(Resource::RLIMIT_MEMLOCK).0, has(capabilities, CAP_IPC_LOCK), wanted.shards),
        descriptors(limit(Resource::RLIMIT_NOFILE), wanted),
        data_folder(wanted.data_dir),
        icmp(tree.read("proc/sys/net/ipv4/ping_group_range"), &groups(), capabilities),
        ports(tree.read("proc/sys/net/ipv4/ip_local_port_range")),
        conntrack(tree.number("proc/sys/net/netfilter/nf_conntrack_max"), wanted),
        time_wait(tree.number("proc/sys/net/ipv4/tcp_max_tw_buckets")),
        time_service(&tree),
    ]
}

/// Raises the soft descriptor limit to the hard one and returns it, in descriptors.
///
/// # Errors
///
/// The errno of getrlimit(2) or setrlimit(2).
pub fn raise_descriptor_limit() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Most probes in flight per shard that a descriptor limit allows, after what the rest of the
/// process needs; 0 where there is not enough for that.
pub fn inflight_allowed(descriptors: u64, shards: usize) -> usize {
    let shards = shards.max(1);
    let own = DESCRIPTORS_RESERVED + shards * SHARD_DESCRIPTORS;
    usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(own) / shards
}

fn memlock(soft: u64, may_lock: bool, shards: usize) -> Finding {
    const NAME: &str = "memlock";
    let wanted = SHARD_MEMLOCK_BYTES.saturating_mul(shards as u64);
    let fix = format!("raise LimitMEMLOCK in the unit, or `ulimit -l`, to {} KiB", wanted / 1_024);
    // glommio refuses below its own minimum whatever the rights are.
    if soft < SHARD_MEMLOCK_BYTES {
        let text = format!("{} KiB may be locked, the first ring wants 512", soft / 1_024);
        return Finding::fail(NAME, text, fix);
    }
    if soft < wanted && !may_lock {
        let text = format!(
            "{} KiB may be locked, {shards} shards want {} on kernels before 5.12",
            soft / 1_024,
            wanted / 1_024
        );
        return Finding::warn(NAME, text, fix);
    }
    Finding::ok(NAME, format!("enough for {shards} shards"))
}

fn descriptors((soft, hard): (u64, u64), wanted: &Wanted) -> Finding {
    const NAME: &str = "nofile";
    let allowed = inflight_allowed(hard, wanted.shards);
    let needed =
        DESCRIPTORS_RESERVED + wanted.shards.saturating_mul(SHARD_DESCRIPTORS + wanted.inflight);
    let fix = format!("raise LimitNOFILE in the unit, or `ulimit -Hn`, to {needed}");
    if allowed < INFLIGHT_MIN {
        let text = format!("{hard} descriptors at most: too few for {} shards", wanted.shards);
        return Finding::fail(NAME, text, fix);
    }
    if allowed < wanted.inflight {
        let text = format!(
            "{hard} descriptors at most: {allowed} probes in flight per shard instead of {}",
            wanted.inflight
        );
        return Finding::warn(NAME, text, fix);
    }
    Finding::ok(NAME, format!("soft {soft}, hard {hard}; the engine raises soft to hard"))
}

fn data_folder(data_dir: &Path) -> Finding {
    const NAME: &str = "data";
    let shown = data_dir.display();
    let existing = data_dir.ancestors().find(|folder| folder.exists());
    // A relative path without a folder in it starts where the process stands.
    let existing = existing.filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    if !existing.is_dir() {
        let text = format!("{} is not a folder", existing.display());
        return Finding::fail(NAME, text, "give another --data-dir");
    }
    match eaccess(existing, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) if existing == data_dir => Finding::ok(NAME, format!("{shown} can be written")),
        Ok(()) => Finding::ok(NAME, format!("{shown} will be made")),
        Err(Errno::EROFS) => Finding::fail(
            NAME,
            format!("{} is on a read-only file system", existing.display()),
            "mount it writable, or give another --data-dir",
        ),
        Err(errno) => Finding::fail(
            NAME,
            format!("{} cannot be written: {}", existing.display(), errno.desc()),
            "give the folder to the engine's user (chown), or give another --data-dir",
        ),
    }
}

/// ICMP sockets need a group inside ping_group_range (icmp(7)) or CAP_NET_RAW.
fn icmp(range: Option<String>, groups: &[u64], capabilities: u64) -> Finding {
    const NAME: &str = "icmp";
    let in_range = range
        .as_deref()
        .and_then(two_numbers)
        .is_some_and(|(low, high)| groups.iter().any(|group| (low..=high).contains(group)));
    match (in_range, has(capabilities, CAP_NET_RAW)) {
        (true, _) => Finding::ok(NAME, "datagram sockets (ping_group_range)"),
        (false, true) => Finding::ok(NAME, "raw sockets (CAP_NET_RAW)"),
        (false, false) => Finding::warn(
            NAME,
            "no right to ICMP sockets: monitors of type ping_icmp will be unknown",
            "sysctl net.ipv4.ping_group_range=\"0 2147483647\", or AmbientCapabilities=CAP_NET_RAW \
             in the unit, or setcap cap_net_raw+ep on the binary",
        ),
    }
}

fn ports(range: Option<String>) -> Finding {
    const NAME: &str = "ports";
    let Some((low, high)) = range.as_deref().and_then(two_numbers) else {
        return Finding::warn(NAME, "the range of local ports cannot be read", "mount /proc");
    };
    let count = high.saturating_sub(low).saturating_add(1);
    let text = format!("{count} local ports, so many connections to one address and port at once");
    if count < PORTS_WANTED {
        return Finding::warn(NAME, text, "sysctl net.ipv4.ip_local_port_range=\"1024 65535\"");
    }
    Finding::ok(NAME, text)
}

fn conntrack(entries_max: Option<u64>, wanted: &Wanted) -> Finding {
    const NAME: &str = "conntrack";
    let Some(entries_max) = entries_max else {
        return Finding::ok(NAME, "connections are not tracked");
    };
    let needed = wanted.shards.saturating_mul(wanted.inflight) as u64 * CONNTRACK_PER_PROBE;
    if entries_max < needed {
        return Finding::warn(
            NAME,
            format!("{entries_max} tracked connections at most: the kernel drops what is above"),
            format!(
                "sysctl net.netfilter.nf_conntrack_max={needed}, or exempt the engine (notrack)"
            ),
        );
    }
    Finding::ok(NAME, format!("{entries_max} tracked connections at most"))
}

fn time_wait(buckets_max: Option<u64>) -> Finding {
    const NAME: &str = "time_wait";
    match buckets_max {
        None => Finding::ok(NAME, "no own limit in this network namespace"),
        Some(buckets_max) if buckets_max < TIME_WAIT_WANTED => Finding::warn(
            NAME,
            format!("{buckets_max} closed connections at most are kept in TIME_WAIT"),
            format!("sysctl net.ipv4.tcp_max_tw_buckets={TIME_WAIT_WANTED} or more"),
        ),
        Some(buckets_max) => Finding::ok(NAME, format!("{buckets_max} at most")),
    }
}

fn time_service(tree: &Tree) -> Finding {
    const NAME: &str = "clock";
    match TIME_SERVICES.iter().find(|file| tree.path(file).exists()) {
        Some(file) => Finding::ok(NAME, format!("kept right by a time service (/{file})")),
        None => Finding::warn(
            NAME,
            "no time service was found on this host: due times and certificate ends may be off",
            "run systemd-timesyncd or chrony, or ignore this where the hypervisor keeps the time",
        ),
    }
}

/// Files of the kernel below some root.
struct Tree<'a> {
    root: &'a Path,
}

impl Tree<'_> {
    fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.path(file)).ok()
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.read(file)?.trim().parse().ok()
    }

    /// A field of /proc/self/status (proc_pid_status(5)).
    fn status(&self, field: &str) -> Option<String> {
        let status = self.read("proc/self/status")?;
        let mut fields = status.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(name, _)| *name == field)?;
        Some(value.trim().to_owned())
    }

    /// The effective capabilities as a bit set; none where they cannot be read.
    fn capabilities(&self) -> u64 {
        let bits = self.status("CapEff");
        bits.and_then(|bits| u64::from_str_radix(&bits, 16).ok()).unwrap_or(0)
    }
}

fn has(capabilities: u64, number: u32) -> bool {
    capabilities >> number & 1 == 1
}

/// Soft and hard limit; 0 where they cannot be read, which no known kernel does.
fn limit(resource: Resource) -> (u64, u64) {
    getrlimit(resource).unwrap_or((0, 0))
}

fn groups() -> Vec<u64> {
    let more = getgroups().unwrap_or_default();
    more.into_iter().chain([getegid()]).map(|group| u64::from(group.as_raw())).collect()
}

fn two_numbers(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests;
