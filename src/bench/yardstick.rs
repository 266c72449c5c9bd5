//! Measures the reference: the same exchanges, at the same pace, on the CPU of a shard.
//!
//! Owns: pacing and the CPU time per exchange. It runs before and after the engine, never beside
//! it, so that both have the machine in the same mood and none pays for the other.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::bench::ping::Pinger;
use crate::bench::reference::{Client, Goal, Tickets};
use crate::bench::{Plan, Seats, mix};
use crate::clock::thread_cpu_micros;
use crate::farm::wide::Places;
use crate::limits::TICK_MS;

/// Exchanges at a time.
const PARALLEL: usize = 256;

/// What a reference check costs, in CPU µs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// In user space.
    pub user_us: f64,
    /// In the kernel.
    pub kernel_us: f64,
}

impl Cost {
    /// The mean of two measurements, or the one that there is.
    pub fn mean(one: Option<Cost>, other: Option<Cost>) -> Option<Cost> {
        match (one, other) {
            (Some(one), Some(other)) => Some(Cost {
                user_us: (one.user_us + other.user_us) / 2.0,
                kernel_us: (one.kernel_us + other.kernel_us) / 2.0,
            }),
            (one, other) => one.or(other),
        }
    }

    /// Both together.
    pub fn total_us(self) -> f64 {
        self.user_us + self.kernel_us
    }
}

/// What the reference does for a plan.
pub struct Yardstick {
    goals: Vec<Goal>,
    tls: Option<Arc<ClientConfig>>,
    resuming: Option<Arc<ClientConfig>>,
    /// Echoes per check, 0 to 1.
    pings: f64,
    /// Checks a second.
    rate: f64,
    cpu: usize,
}

impl Yardstick {
    /// The exchanges of the plan's mix, as many a second as one shard of the engine does.
    pub fn new(plan: &Plan, places: &Places, seats: &Seats) -> Yardstick {
        let shards = seats.shards.len().max(1) as f64;
        Yardstick {
            goals: plan.mix.goals(places),
            tls: trusting(&places.ca_pem, Resumption::disabled()),
            resuming: trusting(&places.ca_pem, Resumption::store(Arc::new(Tickets::default()))),
            pings: plan.mix.pings(),
            rate: plan.monitors as f64 / plan.interval.as_secs_f64() / shards,
            cpu: seats.shards.first().copied().unwrap_or(0),
        }
    }

    /// Measures for `time`, paced on the engine's tick; `None` where no time is given. `tell` hears
    /// which part is done.
    ///
    /// # Errors
    ///
    /// No socket (echoes need CAP_NET_RAW), or the targets do not answer.
    pub fn measure(&self, time: Duration, mut tell: impl FnMut(f64)) -> io::Result<Option<Cost>> {
        if time.is_zero() {
            return Ok(None);
        }
        std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                let mut cpus = CpuSet::new();
                cpus.set(self.cpu)?;
                sched_setaffinity(Pid::from_raw(0), &cpus)?;
                self.paced(time).map(Some)
            });
            let from = Instant::now();
            while !work.is_finished() {
                tell(from.elapsed().as_secs_f64() / time.as_secs_f64());
                std::thread::sleep(Duration::from_millis(50));
            }
            work.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")))
        })
    }

    fn paced(&self, time: Duration) -> io::Result<Cost> {
        let tick = Duration::from_millis(TICK_MS);
        let mut pinger = if self.pings > 0.0 { Some(Pinger::open()?) } else { None };
        let mut client = Client::new(PARALLEL, self.tls.clone(), self.resuming.clone())?;
        // The first exchanges fill caches and tables.
        self.step(&mut client, pinger.as_mut(), 64, 64)?;
        let (start, before) = (Instant::now(), thread_cpu_micros());
        let ticks = (time.as_millis() / tick.as_millis()).max(1) as u32;
        let (mut done, mut pinged) = (0, 0);
        for number in 1..=ticks {
            let due = (self.rate * f64::from(number) * tick.as_secs_f64()) as usize;
            let echoes = (due as f64 * self.pings) as usize;
            let streams = (due - echoes) - (done - pinged);
            self.step(&mut client, pinger.as_mut(), streams, echoes - pinged)?;
            (done, pinged) = (due, echoes);
            let next = start + tick * number;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let after = thread_cpu_micros();
        let each = |one: u64, other: u64| (other - one) as f64 / done.max(1) as f64;
        Ok(Cost { user_us: each(before.0, after.0), kernel_us: each(before.1, after.1) })
    }

    fn step(
        &self,
        client: &mut Client,
        pinger: Option<&mut Pinger>,
        streams: usize,
        echoes: usize,
    ) -> io::Result<()> {
        if let Some(pinger) = pinger {
            pinger.run(mix::target(0), echoes)?;
        }
        if self.goals.is_empty() { Ok(()) } else { client.run(&self.goals, streams) }
    }
}

/// A client that trusts the farm.
fn trusting(ca_pem: &str, resumption: Resumption) -> Option<Arc<ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).ok()?).ok()?;
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = resumption;
    Some(Arc::new(config))
}
