//! One driver on the thread of a test, and short ways to say what is probed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use engine::attempt::Attempt;
use engine::clock::Clock;
use engine::fault::Fault;
use engine::ids::{MonitorId, Slot, SlotRef};
use engine::monitor::address::{host_port, http_url};
use engine::monitor::{Kind, Monitor, Preset, Timing};
use engine::net::driver::Driver;
use engine::net::resolve::{Hosts, ResolverConfig};
use engine::net::trust::Trust;
use engine::sample::CheckResult;
use probes::ProbeSpec;
use probes::spec::{Family, Host, HttpOptions, HttpSpec, IcmpSpec, TcpSpec, TlsOptions, TlsSpec};

/// Times that a check is made again because this host was too busy to say anything.
const LATE_MAX: usize = 20;

/// One driver.
pub struct Bench {
    pub driver: Driver,
}

impl Bench {
    /// A driver that asks `servers` for names and trusts what `trust` has loaded.
    pub fn new(servers: Vec<SocketAddr>, trust: Trust) -> Bench {
        let hosts = Arc::new(Hosts::default());
        let config = ResolverConfig { servers, try_ms: 2_000, rounds: 1, rotate: false, hosts };
        Bench { driver: Driver::new(Clock::start(), trust, config, 1_024).unwrap() }
    }

    /// Starts a probe that the results call by `slot`.
    pub fn launch(&mut self, slot: usize, spec: &ProbeSpec, timeout_ms: u32) {
        let at = SlotRef { slot: Slot(slot as u32), generation: 0 };
        self.driver.launch(at, &monitor(spec, timeout_ms));
    }

    /// What all of these find, all begun at once, in their order.
    pub fn check_all(&mut self, probes: &[(ProbeSpec, u32)]) -> Vec<Attempt> {
        let mut found: Vec<Option<Attempt>> = probes.iter().map(|_| None).collect();
        for _ in 0..LATE_MAX {
            let open = found.iter().enumerate().filter(|(_, found)| found.is_none());
            let open: Vec<_> = open.map(|(slot, _)| slot).collect();
            if open.is_empty() {
                break;
            }
            for slot in &open {
                let (spec, timeout_ms) = &probes[*slot];
                self.launch(*slot, spec, *timeout_ms);
            }
            for (slot, attempt) in self.wait(open.len()) {
                if attempt.result != CheckResult::Unknown(Fault::Late) {
                    found[slot] = Some(attempt);
                }
            }
        }
        assert!(self.driver.is_idle());
        found.into_iter().map(|found| found.expect("this host is too busy to test on")).collect()
    }

    /// What one probe finds.
    pub fn check(&mut self, spec: &ProbeSpec, timeout_ms: u32) -> Attempt {
        self.check_all(&[(spec.clone(), timeout_ms)]).remove(0)
    }

    /// Turns until `count` attempts have ended.
    pub fn wait(&mut self, count: usize) -> Vec<(usize, Attempt)> {
        let mut ended = Vec::new();
        while ended.len() < count {
            self.driver.turn(None).unwrap();
            let news = self.driver.finished().drain(..);
            ended.extend(news.map(|(at, attempt)| (at.slot.0 as usize, attempt)));
        }
        ended
    }
}

fn monitor(spec: &ProbeSpec, timeout_ms: u32) -> Monitor {
    let timing = Timing {
        interval_ms: 600_000,
        timeout_ms,
        retry_delay_ms: 0,
        retries: 0,
        confirm_ms: 0,
        fall: 1,
        rise: 1,
    };
    Monitor {
        id: MonitorId(1),
        kind: Kind::PingWeb,
        preset: Preset::Standard,
        paused: false,
        guarded: false,
        timing,
        spec: Arc::new(spec.clone()),
    }
}

/// A web check.
pub fn web(url: &str, options: HttpOptions) -> ProbeSpec {
    let url = http_url(url, Preset::Standard).unwrap();
    ProbeSpec::Http(Box::new(HttpSpec { url, options: Arc::new(options) }))
}

/// A TCP connect to `host:port`.
pub fn tcp(to: &str, expect_closed: bool) -> ProbeSpec {
    let (host, port) = host_port(to).unwrap();
    ProbeSpec::Tcp(TcpSpec { host, port, family: Family::Any, expect_closed })
}

/// A certificate check that wants more than 10 days.
pub fn handshake(to: SocketAddr, tls: TlsOptions) -> ProbeSpec {
    let host = Host::ip(to.ip());
    let (port, family) = (to.port(), Family::Any);
    ProbeSpec::Tls(Box::new(TlsSpec { host, port, family, expire_days: 10, tls }))
}

/// An echo.
pub fn echo(ip: &str) -> ProbeSpec {
    let host = Host::ip(ip.parse::<IpAddr>().unwrap());
    ProbeSpec::Icmp(IcmpSpec { host, family: Family::Any })
}
