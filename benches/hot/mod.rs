//! What a check goes through, piece by piece: each a function to be called again and again.
//!
//! Owns: the pieces and their input, made once. `micro` measures their time, `ci/instructions`
//! counts their instructions. Nothing here depends on a clock, a random number or the order of a
//! hash map, so the same build counts the same every time.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use engine::attempt::Attempt;
use engine::ids::{MonitorId, ShardId, Slot, SlotRef, Tick};
use engine::limits::{BATCH_SAMPLES_MAX, TICK_MS};
use engine::messages::{Assign, Command};
use engine::metrics::snapshot::lag_histogram;
use engine::monitor::{Kind, Monitor, Preset, State, Timing};
use engine::net::resolve::message::{Question, RecordKind};
use engine::sample::{Code, Sample, SampleBatch, Verdict};
use engine::sched::due::{DueList, Waiting};
use engine::sched::wheel::Wheel;
use engine::shard::batch::Outbox;
use engine::shard::{Now, Shard};
use engine::store::blob;
use probes::http::Http;
use probes::icmp::wire::{parse, write_echo};
use probes::icmp::{Cookie, Delivery, ECHO_BYTES, Version};
use probes::spec::{Family, Host, HttpOptions, HttpUrl, TcpSpec};
use probes::{Machine, Nanos, Outcome, ProbeSpec, Timings};

/// Something that is done many times at once, and how many times that is.
pub struct Piece {
    /// Its name in tables and in the baseline.
    pub name: &'static str,
    /// Things done by one call of `work`.
    pub things: u64,
    /// Does them.
    pub work: Box<dyn FnMut()>,
}

fn piece(name: &'static str, things: u64, work: impl FnMut() + 'static) -> Piece {
    Piece { name, things, work: Box::new(work) }
}

/// Every piece, in the order of a check.
pub fn pieces() -> Vec<Piece> {
    vec![
        wheel(),
        due_list(),
        shard_check(),
        http_exchange(),
        echo(),
        dns(),
        lag(),
        batch(),
        hand_over(),
        pack(),
        unpack(),
    ]
}

const KEYS: u32 = 10_000;

/// A key is armed and expires, ten thousand of them over an interval of a minute.
fn wheel() -> Piece {
    let mut wheel = Wheel::new(Tick(0));
    let mut now = 0;
    for key in 0..KEYS {
        wheel.arm(key, Tick(1 + u64::from(key) * 6_000 / u64::from(KEYS)));
    }
    let mut fired = Vec::with_capacity(KEYS as usize);
    piece("wheel: expire and arm", KEYS.into(), move || {
        for _ in 0..6_000 {
            now += 1;
            wheel.expire(Tick(now), |key, due| fired.push((key, due)));
            for (key, due) in fired.drain(..) {
                wheel.arm(key, Tick(due.0 + 6_000));
            }
        }
    })
}

fn due_list() -> Piece {
    let mut list = DueList::default();
    let waiting =
        |slot| Waiting { slot: SlotRef { slot: Slot(slot), generation: 1 }, due: Tick(1) };
    piece("due list: push and pop", 1_000, move || {
        for slot in 0..1_000 {
            list.push(waiting(slot));
        }
        while let Some(waiting) = list.pop() {
            black_box(waiting);
        }
    })
}

fn monitor(id: u64) -> Monitor {
    let timing = Timing {
        interval_ms: 1_000,
        timeout_ms: 5_000,
        retry_delay_ms: 0,
        retries: 0,
        fall: 1,
        rise: 1,
        confirm_ms: 0,
    };
    let host = Host::ip(Ipv4Addr::LOCALHOST);
    let spec = TcpSpec { host, port: 1, family: Family::Any, expect_closed: false };
    Monitor {
        guarded: false,
        id: MonitorId(id),
        kind: Kind::Tcp,
        preset: Preset::Standard,
        paused: false,
        timing,
        spec: Arc::new(ProbeSpec::Tcp(spec)),
    }
}

/// All that a shard does for a good check but the probe itself: due, start, verdict, ledger, batch.
fn shard_check() -> Piece {
    const MONITORS: u64 = 1_000;
    let at = |tick: u64| {
        let millis = tick * TICK_MS;
        Now { nanos: Nanos(millis * 1_000_000), tick: Tick(tick), unix_us: millis * 1_000 }
    };
    let mut tick = 1_000_000;
    let mut shard = Shard::new(ShardId(0), Tick(tick));
    let assigns =
        (1..=MONITORS).map(|id| Assign { monitor: monitor(id), state: State::default() }).collect();
    shard.on_command(Command::Assign(assigns), at(tick));
    let mut started = Vec::with_capacity(MONITORS as usize);
    let mut second = move || {
        for _ in 0..1_000 / TICK_MS {
            tick += 1;
            let now = at(tick);
            shard.on_tick(now);
            shard.start_due(usize::MAX, now, |slot, _| started.push(slot));
            for slot in started.drain(..) {
                let outcome = Outcome { timings: Timings::NONE, ..Outcome::default() };
                shard.on_attempt(slot, Attempt::of_target(outcome, 100, None), now);
            }
            while let Some(batch) = shard.outbox().pop() {
                black_box(batch);
            }
        }
    };
    // The first answer of a monitor is news.
    second();
    piece("shard: a good check", MONITORS, second)
}

/// A request is written and an answer of 1 KiB is read.
fn http_exchange() -> Piece {
    let host = Host::ip(Ipv4Addr::LOCALHOST);
    let url = HttpUrl { tls: false, host, port: 80, path: "/health".into() };
    let options = Arc::new(HttpOptions::default());
    let head = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
                Content-Type: text/html\r\nContent-Length: 1024\r\nConnection: close\r\n\
                ETag: \"65920080-400\"\r\nAccept-Ranges: bytes\r\n\r\n";
    let answer = [head.as_bytes(), &[b'x'; 1_024]].concat();
    let mut out = Vec::with_capacity(1_024);
    piece("http: request and answer", 100, move || {
        for _ in 0..100 {
            let mut http = Http::new(&url, &options, Nanos(1));
            out.clear();
            http.handle_connected(Nanos(2));
            http.poll_transmit(&mut out);
            http.handle_input(&answer, Nanos(3));
            let outcome = http.poll_outcome();
            assert!(outcome.is_some_and(|outcome| outcome.failure.is_none()));
        }
    })
}

/// A request is signed and written; its reply is read and its cookie believed.
fn echo() -> Piece {
    let cookie = Cookie::new();
    let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
    let mut packet = [0; ECHO_BYTES];
    piece("icmp: request and reply", 100, move || {
        for seq in 0..100 {
            let payload = cookie.sign(7, Nanos(1), ip, seq);
            write_echo(Version::V4, 1, seq, &payload, &mut packet);
            answer(&mut packet);
            let message = parse(Delivery::DatagramV4, &packet);
            let Some(probes::icmp::Message::Reply(reply)) = message else { unreachable!() };
            assert!(cookie.open(reply.payload, reply.seq, ip).is_some());
        }
    })
}

/// Makes the reply of a request, with its checksum (RFC 1624).
fn answer(packet: &mut [u8; ECHO_BYTES]) {
    packet[0] = 0;
    let (sum, carry) = u16::from_be_bytes([packet[2], packet[3]]).overflowing_add(0x0800);
    packet[2..4].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
}

/// A query is written and its answer with one address is read.
fn dns() -> Piece {
    let name = "www.example.com";
    let mut response = Question::new(name, RecordKind::A).unwrap().encode(7).unwrap();
    response[2] |= 0x80; // It is a response,
    response[7] = 1; // with one answer: a pointer to the name, A, IN, 300 s, 4 bytes.
    response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1]);
    piece("dns: query and answer", 100, move || {
        for _ in 0..100 {
            let question = Question::new(name, RecordKind::A).unwrap();
            black_box(question.encode(7));
            let reply = question.read_reply(7, &response);
            assert!(matches!(reply, engine::net::resolve::message::Reply::Answer(_)));
        }
    })
}

fn lag() -> Piece {
    let mut lag = lag_histogram();
    piece("histogram: record a lag", 1_000, move || {
        for micros in 0..1_000u64 {
            lag.saturating_record(black_box(micros * 7));
        }
    })
}

fn sample(number: u64) -> Sample {
    Sample {
        monitor: MonitorId(number % 1_024),
        due_ms: 1_700_000_000_000 + (number / 1_024) * 60_000 + number % 1_024 * 58,
        lag_us: (number * 7_919 % 9_000) as u32,
        timings: Timings::NONE,
        total_us: 20_000 + (number * 104_729 % 5_000) as u32,
        body_bytes: 1_024,
        code: Code::GOOD,
        http_status: 200,
        phase: u8::MAX,
        attempts: 1,
        verdict: Verdict::Up,
    }
}

/// Samples go into batches, which are sealed when they are full.
fn batch() -> Piece {
    let mut outbox = Outbox::new(ShardId(0));
    let things = 4 * BATCH_SAMPLES_MAX as u64;
    piece("batch: a sample", things, move || {
        for number in 0..things {
            outbox.push(sample(number), None, None);
        }
        while let Some(batch) = outbox.pop() {
            black_box(batch);
        }
    })
}

/// Batches cross a channel, one full one after the other.
fn hand_over() -> Piece {
    let (sender, receiver): (SyncSender<SampleBatch>, Receiver<SampleBatch>) = sync_channel(64);
    let samples = (0..BATCH_SAMPLES_MAX as u64).map(sample).collect();
    let (words, transitions) = (Vec::new(), Vec::new());
    let full = SampleBatch { shard: ShardId(0), seq: 1, samples, words, transitions };
    let mut spare = Some(full);
    piece("batch: hand-over", BATCH_SAMPLES_MAX as u64, move || {
        let batch = spare.take().unwrap();
        assert!(sender.try_send(batch).is_ok());
        spare = receiver.try_recv().ok();
    })
}

const PACKED: u64 = 4 * 1_024;

fn samples() -> Vec<Sample> {
    let mut samples: Vec<_> = (0..PACKED).map(sample).collect();
    samples.sort_by_key(|sample| (sample.monitor, sample.due_ms));
    samples
}

fn pack() -> Piece {
    let samples = samples();
    piece("store: pack a sample", PACKED, move || {
        black_box(blob::pack(0, 1_700_000_000_000, &samples).unwrap());
    })
}

fn unpack() -> Piece {
    let packed = blob::pack(0, 1_700_000_000_000, &samples()).unwrap();
    piece("store: unpack a sample", PACKED, move || {
        black_box(blob::unpack(0, 1_700_000_000_000, &packed).unwrap());
    })
}
