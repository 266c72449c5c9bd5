//! What the user asked to watch.
//!
//! Owns: the checked definition of a monitor, in the part that runs ([`Monitor`], on its shard) and
//! the part that people read ([`About`], in the store). `row` makes both from what was written.

use std::sync::Arc;

use probes::ProbeSpec;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::MonitorId;
use crate::sample::{Code, Verdict};

pub mod address;
pub mod flap;
pub mod message;
pub mod partition;
pub mod row;
pub mod table;
pub mod verdict;

/// The sort of check, under the names of the original service.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// An HTTP request whose status decides.
    PingWeb = 0,
    /// An HTTP request whose body decides too.
    WebContent = 1,
    /// A TCP connect.
    Tcp = 2,
    /// A TCP connect, under the original's other name.
    OpenPortTcpThenValid = 3,
    /// A TCP connect that must fail.
    OpenPortTcpThenError = 4,
    /// One ICMP echo.
    PingIcmp = 5,
    /// A TLS handshake and the days its certificate has left.
    SslExpiredCheck = 6,
}

impl Timing {
    /// Longest that one check takes, attempts and pauses between them included, in milliseconds.
    pub fn check_ms_max(&self) -> u64 {
        let retries = u64::from(self.retries);
        (retries + 1) * u64::from(self.timeout_ms) + retries * u64::from(self.retry_delay_ms)
    }
}

impl Kind {
    /// Every kind, in the order of its number.
    pub const ALL: [Kind; 7] = [
        Kind::PingWeb,
        Kind::WebContent,
        Kind::Tcp,
        Kind::OpenPortTcpThenValid,
        Kind::OpenPortTcpThenError,
        Kind::PingIcmp,
        Kind::SslExpiredCheck,
    ];

    /// The name in files, tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::PingWeb => "ping_web",
            Kind::WebContent => "web_content",
            Kind::Tcp => "tcp",
            Kind::OpenPortTcpThenValid => "open_port_tcp_then_valid",
            Kind::OpenPortTcpThenError => "open_port_tcp_then_error",
            Kind::PingIcmp => "ping_icmp",
            Kind::SslExpiredCheck => "ssl_expired_check",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Where the values come from that a row does not give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// The engine's own: certificates verified, one attempt, 10 s, whole body up to 1 MiB.
    #[default]
    Standard,
    /// The original service's: certificates of web checks not verified, three attempts 5 s apart,
    /// its time limits and its 10,240 bytes of body.
    Original,
}

/// How often, how long and how many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From due to due, in milliseconds; a whole number of ticks.
    pub interval_ms: u64,
    /// Total deadline of one attempt, names and redirects included, in milliseconds.
    pub timeout_ms: u32,
    /// Pause before a further attempt, in milliseconds. No probe is in flight meanwhile.
    pub retry_delay_ms: u32,
    /// Further attempts after a failed one within one check.
    pub retries: u8,
    /// Pause before a failed check is confirmed by a further one, in milliseconds; 0 leaves that
    /// to the next due check.
    pub confirm_ms: u32,
    /// Failed checks in a row before the verdict is down.
    pub fall: u8,
    /// Good checks in a row before the verdict is up again.
    pub rise: u8,
}

/// A monitor as its shard needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// Its number.
    pub id: MonitorId,
    /// The sort of check: metrics and messages.
    pub kind: Kind,
    /// Where missing values came from: messages differ a little.
    pub preset: Preset,
    /// True where it is not to be checked now.
    pub paused: bool,
    /// True where its failures are not believed while this host is cut off.
    pub guarded: bool,
    /// How often, how long and how many times.
    pub timing: Timing,
    /// What to do on the wire.
    pub spec: Arc<ProbeSpec>,
}

/// A monitor as people see it. Stays off the shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Unique among all monitors.
    pub name: String,
    /// The target as written.
    pub target: String,
    /// Sort and group by these.
    pub tags: Vec<String>,
}

/// What was last known of a monitor: kept over a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The verdict.
    pub verdict: Verdict,
    /// Since when, in milliseconds since the Unix epoch; 0 for never.
    pub since_ms: u64,
    /// Result of the last check.
    pub code: Code,
    /// Results in a row that speak against `settled`.
    pub streak: u8,
    /// The last of up and down that was confirmed; pending before the first.
    pub settled: Verdict,
}
