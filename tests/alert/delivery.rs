//! That notices arrive: over a channel that fails, beside one that is dead, and over kills.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use engine::alert::Change;
use engine::alert::outbox::Outbox;
use serde_json::json;

use crate::bench::{Memory, channel, down, eventually, start, up};
use crate::recorder::{Recorder, Request};

const NAME: &str =
    "delivery::killed_again_and_again_over_a_failing_channel_every_notice_arrives_in_order";
const CHILD_FOLDER: &str = "ALERT_KILL_FOLDER";
const CHILD_URL: &str = "ALERT_KILL_URL";
const CHILD_RECORDED: &str = "ALERT_KILL_RECORDED";
const CHILD_CHANGES: &str = "ALERT_KILL_CHANGES";
/// Outages of each monitor.
const OUTAGES: u64 = 10;

/// Changes and kills: 100,000 and 100 in the long form.
fn size() -> (usize, usize) {
    if std::env::var_os("ALERT_KILL_LONG").is_some() { (100_000, 100) } else { (10_000, 20) }
}

/// All changes: those of all monitors in turn, each down and up again and again.
fn changes(count: usize) -> Vec<Change> {
    let monitors = count as u64 / (2 * OUTAGES);
    let of_round = |round: u64| {
        (1..=monitors).map(move |id| match round % 2 {
            0 => down(id, 1_000 + round * 1_000),
            _ => up(id, 1_000 + round * 1_000),
        })
    };
    (0..2 * OUTAGES).flat_map(of_round).collect()
}

#[test]
fn killed_again_and_again_over_a_failing_channel_every_notice_arrives_in_order() {
    if let Ok(folder) = std::env::var(CHILD_FOLDER) {
        tell_until_killed(&PathBuf::from(folder));
    }
    let place = tempfile::tempdir().unwrap();
    let (count, kills) = size();
    // Three in ten are not taken, by their place in the order of arrival.
    let hook = Recorder::answering(|_, number| match number * 7 % 10 {
        0..=2 => (503, String::new(), String::new()),
        _ => (200, String::new(), String::new()),
    });
    start(place.path(), vec![], &Memory::default()).stop(); // From here on changes are news.
    let mut recorded = 0;
    for round in 1..=kills {
        let pause = Duration::from_micros((round as u64 * 7_919) % 150_000);
        recorded = one_round(place.path(), &hook, recorded, count * round / kills, pause);
    }
    // The last one may finish.
    let child = child(place.path(), &hook, recorded, count);
    let wanted = expected(count);
    let mut arrived = 0;
    let deadline = Instant::now() + Duration::from_secs(30 + count as u64 / 500);
    while arrived < count && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
        let keys: HashSet<String> = taken(&hook).into_iter().map(|(key, _)| key).collect();
        arrived = keys.len();
    }
    drop(child);
    assert_eq!(arrived, count, "of {} requests", hook.requests().len());
    check(&taken(&hook), &wanted);
    println!("{} requests for {count} notices, {kills} kills", hook.requests().len());
}

/// Keys and monitors of requests that were answered with 200, in the order of arrival.
fn taken(hook: &Recorder) -> Vec<(String, u64)> {
    let requests = hook.requests();
    let good = requests.iter().enumerate().filter(|(number, _)| number * 7 % 10 > 2);
    let of = |request: &Request| {
        let key = key(request);
        let monitor = key.split('-').next().unwrap().parse().unwrap();
        (key, monitor)
    };
    good.map(|(_, request)| of(request)).collect()
}

fn key(request: &Request) -> String {
    request.header("idempotency-key").unwrap().to_owned()
}

/// The keys of each monitor's notices in their order.
fn expected(count: usize) -> HashMap<u64, Vec<String>> {
    let mut keys: HashMap<u64, Vec<String>> = HashMap::new();
    for change in changes(count) {
        let id = change.monitor.0;
        let of_monitor = keys.entry(id).or_default();
        let key = match change.message.is_empty() {
            false => format!("{id}-{}-down", change.at_ms),
            true => format!("{id}-{}-up", change.at_ms - 1_000),
        };
        of_monitor.push(key);
    }
    keys
}

/// Every key came; each for the first time in its order; what came twice came under its key.
fn check(taken: &[(String, u64)], wanted: &HashMap<u64, Vec<String>>) {
    let mut seen = HashSet::new();
    let mut first: HashMap<u64, Vec<String>> = HashMap::new();
    for (key, monitor) in taken {
        if seen.insert(key.clone()) {
            first.entry(*monitor).or_default().push(key.clone());
        }
    }
    assert_eq!(first.len(), wanted.len());
    for (monitor, keys) in wanted {
        assert_eq!(first.get(monitor), Some(keys), "monitor {monitor}");
    }
}

/// A child that is killed when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn child(folder: &Path, hook: &Recorder, recorded: usize, until: usize) -> Killed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .env(CHILD_URL, hook.url("/x"))
        .env(CHILD_RECORDED, recorded.to_string())
        .env(CHILD_CHANGES, until.to_string())
        .stdout(Stdio::piped())
        .spawn();
    Killed(child.unwrap())
}

/// Runs a child until its store has `until` changes, and kills it a moment later. Gives what its
/// store has.
fn one_round(
    folder: &Path,
    hook: &Recorder,
    recorded: usize,
    until: usize,
    pause: Duration,
) -> usize {
    let mut child = child(folder, hook, recorded, until);
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut numbers = lines.map_while(Result::ok).filter_map(|line| {
        line.strip_prefix("recorded ").map(|number| number.parse::<usize>().unwrap())
    });
    let last = numbers.find(|number| *number >= until);
    std::thread::sleep(pause);
    last.unwrap()
}

/// The child: its store has what was recorded before and gets more; of two in three it is told.
fn tell_until_killed(folder: &Path) -> ! {
    let number = |name: &str| std::env::var(name).unwrap().parse::<usize>().unwrap();
    let (recorded, until) = (number(CHILD_RECORDED), number(CHILD_CHANGES));
    let all = changes(size().0);
    let memory = Memory::of(all.len() as u64 / (2 * OUTAGES));
    all[..recorded].iter().for_each(|change| memory.record(change));
    let url = std::env::var(CHILD_URL).unwrap();
    let hook = channel(json!({"type": "webhook", "url": url, "group": false}));
    let alerts = start(folder, vec![hook], &memory);
    for (at, change) in all.iter().enumerate().take(until).skip(recorded) {
        memory.record(change);
        if (at + 1) % 50 == 0 || at + 1 == until {
            println!("recorded {}", at + 1);
        }
        if at % 3 > 0 {
            alerts.teller().changes(vec![change.clone()]);
        }
    }
    println!("recorded {until}");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_dead_channel_does_not_hold_up_another() {
    let (place, good, memory) = (tempfile::tempdir().unwrap(), Recorder::start(), Memory::of(200));
    // Accepts and never answers.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead_url = format!("http://{}/", dead.local_addr().unwrap());
    let channels = vec![
        channel(json!({"type": "webhook", "name": "dead", "url": dead_url, "group": false})),
        channel(json!({"type": "webhook", "name": "good", "url": good.url("/"), "group": false})),
    ];
    let alerts = start(place.path(), channels, &memory);
    let began = Instant::now();
    alerts.teller().changes((1..=200).map(|id| down(id, 1_000)).collect());
    eventually("all over the good one", || (good.requests().len() == 200).then_some(()));
    // The dead one's first deliveries are still on their way: nothing waited for them.
    assert!(began.elapsed() < Duration::from_secs(10), "deliveries wait for a deadline");
    alerts.stop();
    let lines = Outbox::look(place.path()).unwrap().unwrap().lines(1_000).unwrap();
    let waiting = lines.iter().filter(|line| line.state == "waiting" && line.channel == "dead");
    assert_eq!(waiting.count(), 200);
}

#[test]
fn a_receiver_that_asks_for_a_pause_gets_it_and_one_that_refuses_is_not_asked_again() {
    let (place, memory) = (tempfile::tempdir().unwrap(), Memory::of(2));
    let slow = Recorder::answering(|_, number| match number {
        0 => (429, "Retry-After: 2\r\n".to_owned(), String::new()),
        _ => (200, String::new(), String::new()),
    });
    let picky = Recorder::answering(|_, _| (400, String::new(), String::new()));
    let channels = vec![
        channel(json!({"type": "webhook", "name": "slow", "url": slow.url("/")})),
        channel(json!({"type": "webhook", "name": "picky", "url": picky.url("/")})),
    ];
    let alerts = start(place.path(), channels, &memory);
    let began = Instant::now();
    alerts.teller().changes(vec![down(1, 1_000)]);
    eventually("the second attempt", || (slow.requests().len() == 2).then_some(()));
    assert!(began.elapsed() >= Duration::from_secs(2), "the pause was {:?}", began.elapsed());
    alerts.teller().changes(vec![up(1, 2_000)]);
    eventually("the end", || (slow.requests().len() == 3).then_some(()));
    eventually("its end is refused too", || (picky.requests().len() == 2).then_some(()));
    alerts.stop();
    let lines = Outbox::look(place.path()).unwrap().unwrap().lines(10).unwrap();
    let refused: Vec<_> = lines.iter().filter(|line| line.state == "refused").collect();
    assert_eq!(refused.len(), 2, "{lines:?}");
    assert_eq!((refused[0].attempts, refused[0].error.as_str()), (1, "HTTP 400"));
}

#[test]
fn what_is_too_old_is_given_up_and_one_notice_says_how_many() {
    let (place, memory) = (tempfile::tempdir().unwrap(), Memory::of(3));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let to = |url: String| {
        vec![channel(json!({"type": "webhook", "name": "x", "url": url, "group": false}))]
    };
    let alerts = start(place.path(), to(format!("http://{closed}/")), &memory);
    alerts.teller().changes((1..=3).map(|id| down(id, 1_000)).collect());
    eventually("three notices that wait", || {
        let lines = Outbox::look(place.path()).unwrap().unwrap().lines(10).unwrap();
        (lines.iter().filter(|line| line.attempts > 0).count() == 3).then_some(())
    });
    alerts.stop();
    let file = rusqlite::Connection::open(place.path().join("alerts.db")).unwrap();
    file.execute("UPDATE notice SET made_ms = made_ms - 90000000, next_ms = 0", []).unwrap();
    let hook = Recorder::start();
    let alerts = start(place.path(), to(hook.url("/")), &memory);
    eventually("one that says so", || {
        hook.values("event").contains(&"expired".to_owned()).then_some(())
    });
    alerts.stop();
    let requests = hook.requests();
    let said = requests.iter().find(|request| request.json()["event"] == "expired").unwrap();
    let message = said.json()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("3 notices were given up"), "{message}");
    assert_eq!(requests.len(), 1, "{requests:?}");
}
