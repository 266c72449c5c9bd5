//! Troubles of this host, in a network namespace of the test's own: unknown, and never down.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use engine::farm::{Behaviour as B, Farm};
use engine::fault::Fault;
use engine::net::trust::Trust;
use engine::sample::CheckResult::{self, Down, Unknown, Up};
use nix::sched::{CloneFlags, unshare};
use probes::Failure;

use crate::bench::{Bench, echo, tcp};
use crate::name_server::name_server;

/// Runs `test` on a thread whose network is empty but for loopback.
fn in_own_network(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            panic!(
                "no network namespace ({errno}): run this test as root or with CAP_SYS_ADMIN, for \
                 example with `unshare --map-root-user --user`"
            );
        }
        ip("link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs ip(8) in the network of this thread.
fn ip(arguments: &str) {
    run("ip", arguments, "install the package iproute2");
}

/// Runs nft(8) in the network of this thread.
fn nft(arguments: &str) {
    run("/usr/sbin/nft", arguments, "install the package nftables");
}

fn run(program: &str, arguments: &str, remedy: &str) {
    let status = Command::new(program).args(arguments.split(' ')).status();
    let status = status.unwrap_or_else(|error| panic!("{program}: {error}; {remedy}"));
    assert!(status.success(), "{program} {arguments}: {status}; this needs CAP_NET_ADMIN");
}

fn results(bench: &mut Bench, target: &str) -> [CheckResult; 2] {
    let probes = [(tcp(&format!("{target}:80"), false), 20_000), (echo(target), 20_000)];
    let found = bench.check_all(&probes);
    [found[0].result, found[1].result]
}

#[test]
fn no_route_and_routes_that_forbid_are_ours() {
    in_own_network(|| {
        ip("route add prohibit 192.0.2.0/25");
        ip("route add unreachable 192.0.2.128/25");
        ip("route add blackhole 198.51.100.0/24");
        let mut bench = Bench::new(vec![], Trust::default());
        for (target, fault) in [
            ("203.0.113.1", Fault::NoRoute),
            ("192.0.2.1", Fault::NotPermitted),
            ("192.0.2.129", Fault::NoRoute),
            ("198.51.100.1", Fault::Other),
        ] {
            assert_eq!(results(&mut bench, target), [Unknown(fault); 2], "{target}");
        }
        let closed = bench.check(&tcp("203.0.113.1:80", true), 20_000);
        assert_eq!(closed.result, Unknown(Fault::NoRoute), "a port is not closed for that");
    });
}

#[test]
fn a_firewall_of_this_host_that_drops_datagrams_is_ours() {
    in_own_network(|| {
        nft("add table inet test");
        nft("add chain inet test out { type filter hook output priority 0 ; }");
        nft("add rule inet test out ip daddr 127.1.0.0/16 drop");
        let mut bench = Bench::new(vec!["127.1.0.53:53".parse().unwrap()], Trust::default());
        let ping = bench.check(&echo("127.1.0.1"), 20_000);
        assert_eq!(ping.result, Unknown(Fault::NotPermitted));
        let name = bench.check(&tcp("good.test:80", false), 20_000);
        assert_eq!(name.result, Unknown(Fault::NotPermitted));
        // A SYN that is dropped here is nothing that Linux tells connect(2): it is a SYN without an
        // answer, and a rule that rejects it with an ICMP message or a reset is the target's word.
        let connect = bench.check(&tcp("127.1.0.1:80", false), 300);
        assert_eq!(connect.result, Down(Failure::TimedOut));
    });
}

#[test]
fn an_address_without_a_route_gives_way_to_one_with_a_route() {
    in_own_network(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = name_server(&[("two.test", &["203.0.113.1", "127.0.0.1"])]);
        let mut bench = Bench::new(vec![server], Trust::default());
        let attempt = bench.check(&tcp(&format!("two.test:{port}"), false), 20_000);
        assert_eq!(attempt.result, Up);
        assert_eq!(attempt.address, Some("127.0.0.1".parse().unwrap()));
    });
}

#[test]
fn a_name_server_without_a_route_says_nothing_about_the_name() {
    in_own_network(|| {
        let mut bench = Bench::new(vec!["203.0.113.53:53".parse().unwrap()], Trust::default());
        let attempt = bench.check(&tcp("good.test:80", false), 20_000);
        assert_eq!(attempt.result, Unknown(Fault::Resolver));
    });
}

#[test]
fn ports_that_ran_out_are_ours_and_come_back() {
    in_own_network(|| {
        let farm = Farm::start(Ipv4Addr::LOCALHOST.into(), &[B::Silent, B::Good]).unwrap();
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "61000 61003").unwrap();
        let silent = farm.address(B::Silent).unwrap();
        let url = format!("http://{silent}/");
        let spec = crate::bench::web(&url, probes::spec::HttpOptions::default());
        let mut bench = Bench::new(vec![], Trust::default());
        let probes: Vec<_> = (0..12).map(|_| (spec.clone(), 400)).collect();
        let found = bench.check_all(&probes);
        let count = |wanted| found.iter().filter(|attempt| attempt.result == wanted).count();
        let (out, ended) = (count(Unknown(Fault::Ports)), count(Down(Failure::TimedOut)));
        assert!(out >= 8 && ended >= 1 && out + ended == 12, "{out} without a port, {ended} ended");
        let good = farm.address(B::Good).unwrap().to_string();
        assert_eq!(bench.check(&tcp(&good, false), 20_000).result, Up);
    });
}
