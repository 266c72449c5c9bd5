//! Which monitors a bench watches.
//!
//! Owns: the mixes and what each monitor of them is, by its number: the same number is always the
//! same monitor. They are rows as a user writes them, checked as every other row.

use std::net::{Ipv4Addr, SocketAddr};

use crate::bench::reference::{Exchange, Goal};
use crate::config::Entry;
use crate::farm::wide::{Places, Play};
use crate::monitor::row::{Interner, MonitorRow, check};

/// The first target of a bench. Above the addresses that people use for tests of their own.
const FIRST_TARGET: u32 = u32::from_be_bytes([127, 64, 0, 0]);
/// Targets after which the addresses begin anew: 127.64.0.0 to 127.127.255.255.
const TARGETS: u32 = 1 << 22;
/// Parts that a mix is divided into.
const PARTS: usize = 1_000;
/// A step that shares no factor with [`PARTS`]: neighbours are of different sorts.
const STEP: usize = 389;

/// What the monitors of a bench are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mix {
    /// HTTP over a new connection for each check, 1 KiB answers
    Http,
    /// The same over connections that are kept, many monitors on few targets
    HttpKeepalive,
    /// HTTPS with a full handshake for each check, 1 KiB answers
    Https,
    /// The same with sessions that are resumed
    HttpsResumed,
    /// TCP connects
    Tcp,
    /// ICMP echoes
    Icmp,
    /// As people have them: half ICMP, 38 % TCP, 9 % HTTP of several sizes, 1 % HTTPS; 5 % fail
    Fleet,
    /// HTTP; halfway, nine in ten targets fall silent and come back
    Outage,
}

/// One sort of check in a mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Ping,
    Tcp(Play),
    Http(Play),
    Https(Play),
}

/// Targets of the mix with kept connections: each has many monitors.
const KEPT_TARGETS: usize = 500;

use Sort::{Http, Https, Ping, Tcp};

/// Each sort with its share, in thousandths.
const FLEET: &[(Sort, usize)] = &[
    (Ping, 500),
    (Tcp(Play::Open), 370),
    (Http(Play::Small), 20),
    (Http(Play::Page), 40),
    (Http(Play::Large), 6),
    (Http(Play::Delayed), 6),
    (Https(Play::Tls), 8),
    (Tcp(Play::Refused), 15),
    (Http(Play::Unavailable), 12),
    (Http(Play::Reset), 6),
    (Http(Play::Silent), 10),
    (Http(Play::Tarpit), 4),
    (Https(Play::TlsUntrusted), 3),
];

impl Mix {
    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Mix::Http => "http",
            Mix::HttpKeepalive => "http-keepalive",
            Mix::Https => "https",
            Mix::HttpsResumed => "https-resumed",
            Mix::Tcp => "tcp",
            Mix::Icmp => "icmp",
            Mix::Fleet => "fleet",
            Mix::Outage => "outage",
        }
    }

    fn sorts(self) -> &'static [(Sort, usize)] {
        match self {
            Mix::Http => &[(Http(Play::Page), PARTS)],
            Mix::HttpKeepalive => &[(Http(Play::Kept), PARTS)],
            Mix::Https => &[(Https(Play::Tls), PARTS)],
            Mix::HttpsResumed => &[(Https(Play::TlsResumed), PARTS)],
            Mix::Tcp => &[(Tcp(Play::Open), PARTS)],
            Mix::Icmp => &[(Ping, PARTS)],
            Mix::Fleet => FLEET,
            Mix::Outage => &[(Http(Play::Outage), 900), (Http(Play::Page), 100)],
        }
    }

    fn sort(self, number: usize) -> Sort {
        let mut part = number * STEP % PARTS;
        for (sort, share) in self.sorts() {
            if part < *share {
                return *sort;
            }
            part -= share;
        }
        Ping
    }

    /// The address of a monitor.
    fn target(self, number: usize) -> Ipv4Addr {
        target(if self == Mix::HttpKeepalive { number % KEPT_TARGETS } else { number })
    }

    /// The share of checks that find their target bad while there is no outage, 0 to 1.
    pub fn failing(self) -> f64 {
        let bad = |sort: &Sort| match sort {
            Ping => false,
            Tcp(play) | Http(play) | Https(play) => matches!(
                play,
                Play::Refused
                    | Play::Unavailable
                    | Play::Reset
                    | Play::Silent
                    | Play::Tarpit
                    | Play::TlsUntrusted
            ),
        };
        let parts = self.sorts().iter().filter(|(sort, _)| bad(sort)).map(|(_, share)| share);
        parts.sum::<usize>() as f64 / PARTS as f64
    }

    /// The share of echoes, 0 to 1.
    pub fn pings(self) -> f64 {
        let parts = self.sorts().iter().filter(|(sort, _)| *sort == Ping).map(|(_, share)| share);
        parts.sum::<usize>() as f64 / PARTS as f64
    }

    /// The stream exchanges of the mix as the reference does them. What only waits is left out:
    /// it costs the reference a connect and the engine hardly more.
    pub fn goals(self, places: &Places) -> Vec<Goal> {
        let goal = |number: usize| {
            let (exchange, play) = match self.sort(number) {
                Ping => return None,
                Http(Play::Delayed | Play::Silent | Play::Tarpit) => return None,
                Tcp(play) => (Exchange::Tcp, play),
                Http(Play::Kept) => (Exchange::Kept, Play::Kept),
                Http(play) => (Exchange::Http, play),
                Https(Play::TlsResumed) => (Exchange::Resumed, Play::TlsResumed),
                Https(play) => (Exchange::Https, play),
            };
            let address = SocketAddr::from((self.target(number), places.port(play)));
            Some(Goal { exchange, address })
        };
        (0..PARTS).filter_map(goal).collect()
    }
}

/// One address of the farm after the other.
pub fn target(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(FIRST_TARGET + number as u32 % TARGETS)
}

/// What all monitors of a bench have in common.
#[derive(Clone, Debug)]
pub struct Common {
    /// From due to due, in milliseconds.
    pub interval_ms: u64,
    /// Deadline of a check, in milliseconds.
    pub timeout_ms: u64,
    /// The file with the authority of the farm.
    pub ca_file: String,
}

/// The first `count` monitors of a mix, as a file of them would give them.
pub fn entries(mix: Mix, count: usize, places: &Places, common: &Common) -> Vec<Entry> {
    let mut interner = Interner::default();
    let one = |number: usize| {
        let row = row(mix, number, places, common);
        // A row that is refused is told as any other: the engine shows it as one that cannot run.
        let checked = check(&row, &mut interner).map_err(|errors| {
            let problem = |error| crate::config::Problem {
                file: "bench".into(),
                place: crate::config::Place::START,
                error,
            };
            errors.into_iter().map(problem).collect()
        });
        Entry::new(&row, number as u32 + 1, checked)
    };
    (0..count).map(one).collect()
}

fn row(mix: Mix, number: usize, places: &Places, common: &Common) -> MonitorRow {
    let ip = mix.target(number);
    let at = |play: Play| format!("{ip}:{}", places.port(play));
    let (kind, target) = match mix.sort(number) {
        Ping => ("ping_icmp", ip.to_string()),
        Tcp(play) => ("tcp", at(play)),
        Http(play) => ("ping_web", format!("http://{}/health", at(play))),
        Https(play) => ("ping_web", format!("https://{}/health", at(play))),
    };
    let mut row = MonitorRow {
        name: Some(format!("{kind}-{number}")),
        kind: Some(kind.to_owned()),
        target: Some(target),
        interval: Some(format!("{}ms", common.interval_ms)),
        timeout: Some(format!("{}ms", common.timeout_ms)),
        ..MonitorRow::default()
    };
    row.keep_alive = (mix.sort(number) == Http(Play::Kept)).then_some(true);
    row.tls_resume = (mix.sort(number) == Https(Play::TlsResumed)).then_some(true);
    if matches!(mix.sort(number), Https(_)) {
        row.server_name = Some("localhost".to_owned());
        row.ca_file = Some(common.ca_file.clone());
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Mix; 8] = [
        Mix::Http,
        Mix::HttpKeepalive,
        Mix::Https,
        Mix::HttpsResumed,
        Mix::Tcp,
        Mix::Icmp,
        Mix::Fleet,
        Mix::Outage,
    ];

    fn places() -> Places {
        let ports = Play::ALL.iter().zip(10_000..).map(|(play, port)| (*play, port));
        Places { ports: ports.collect(), ca_pem: String::new() }
    }

    #[test]
    fn the_parts_of_every_mix_are_a_thousand() {
        for mix in ALL {
            let parts: usize = mix.sorts().iter().map(|(_, share)| share).sum();
            assert_eq!(parts, PARTS, "{mix:?}");
        }
    }

    #[test]
    fn any_thousand_monitors_in_a_row_have_the_shares_of_the_mix() {
        for (sort, share) in FLEET {
            let found = (5_000..6_000).filter(|number| Mix::Fleet.sort(*number) == *sort).count();
            assert_eq!(found, *share, "{sort:?}");
        }
        assert_eq!(Mix::Fleet.failing(), 0.05);
        assert_eq!(Mix::Fleet.pings(), 0.5);
    }

    #[test]
    fn every_monitor_of_every_mix_can_run() {
        let common =
            Common { interval_ms: 60_000, timeout_ms: 5_000, ca_file: "/ca.pem".to_owned() };
        for mix in ALL {
            for entry in entries(mix, PARTS, &places(), &common) {
                assert!(entry.checked.is_ok(), "{:?}", entry.checked);
            }
        }
    }

    #[test]
    fn neighbours_have_different_addresses_and_a_million_stay_in_the_range() {
        assert_ne!(target(0), target(1));
        assert_eq!(target(999_999).octets()[0], 127);
        assert!(target(4_000_000).octets()[1] < 128);
    }
}
