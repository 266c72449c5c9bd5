//! The metrics page in OpenMetrics text.
//!
//! Owns: names, units and labels. Reads the latest snapshot of each shard, so everything of one
//! shard is of one moment and its ledger balances on the page too.

use std::fmt;

use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::ledger::Ledger;
use crate::metrics::snapshot::{Published, Snapshot};
use crate::sample::{CheckResult, Missed, Verdict};

/// Upper ends of the lag buckets, in seconds. Fixed for all time: dashboards depend on them.
const LAG_BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Name, help and value of a number.
pub type Named = (&'static str, &'static str, u64);

/// Further numbers that another thread keeps.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Those that only rise.
    pub counters: Vec<Named>,
    /// Those that may fall.
    pub gauges: Vec<Named>,
}

/// What the page shows.
pub struct Page {
    shards: Vec<Published>,
    store: Box<dyn Fn() -> Counts + Send + Sync>,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("shards", &self.shards.len()).finish()
    }
}

impl Page {
    /// A registry with the page of these shards and what `store` counts.
    pub fn registry(
        shards: Vec<Published>,
        store: impl Fn() -> Counts + Send + Sync + 'static,
    ) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Page { shards, store: Box::new(store) }));
        registry
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shards: Vec<Snapshot> = self.shards.iter().map(Published::latest).collect();
        build_info(&mut encoder)?;
        ledger(&mut encoder, &shards)?;
        results(&mut encoder, &shards)?;
        lag(&mut encoder, &shards)?;
        gauges(&mut encoder, &shards)?;
        counters(&mut encoder, &shards)?;
        let store = (self.store)();
        for (name, help, value) in store.gauges {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        for (name, help, value) in store.counters {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        Ok(())
    }
}

fn build_info(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "What runs here; the value is always 1";
    let mut metric = encoder.encode_descriptor("engine_build", help, None, MetricType::Info)?;
    metric.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
}

/// Writes one counter with a value for each shard and, where given, a further label.
fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (Vec<(&'static str, String)>, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn shard_label(shard: &Snapshot) -> (&'static str, String) {
    ("shard", shard.shard.to_string())
}

fn ledger(encoder: &mut DescriptorEncoder<'_>, shards: &[Snapshot]) -> fmt::Result {
    type Field = fn(&Ledger) -> u64;
    let fields: [(&str, &str, Field); 6] = [
        ("engine_checks_due", "Due checks whose fate is decided", |ledger| ledger.due),
        ("engine_checks_started", "Due checks that were started", |ledger| ledger.started),
        ("engine_checks_paused", "Due times of paused monitors", |ledger| ledger.paused),
        ("engine_checks_up", "Checks that found the target good", |ledger| ledger.up),
        ("engine_checks_down", "Checks that found the target bad", |ledger| ledger.down),
        ("engine_checks_unknown", "Checks that failed by our own fault", |ledger| ledger.unknown),
    ];
    for (name, help, field) in fields {
        let values = shards.iter().map(|shard| (vec![shard_label(shard)], field(&shard.ledger)));
        counter(encoder, name, help, values)?;
    }
    let missed = shards.iter().flat_map(|shard| {
        Missed::ALL.iter().zip(shard.ledger.missed).map(|(reason, count)| {
            (vec![shard_label(shard), ("reason", reason.name().to_string())], count)
        })
    });
    counter(encoder, "engine_checks_missed", "Due checks that were not run", missed)
}

fn results(encoder: &mut DescriptorEncoder<'_>, shards: &[Snapshot]) -> fmt::Result {
    let mut sum = Ledger::default();
    shards.iter().for_each(|shard| sum.add(&shard.ledger));
    let values = sum.results.iter().map(|((kind, code), count)| {
        let result = match code.result() {
            CheckResult::Up => Verdict::Up,
            CheckResult::Down(_) => Verdict::Down,
            CheckResult::Unknown(_) | CheckResult::Missed(_) => Verdict::Unknown,
        };
        let labels = vec![
            ("type", kind.name().to_string()),
            ("result", result.name().to_string()),
            ("reason", code.name().to_string()),
        ];
        (labels, *count)
    });
    counter(encoder, "engine_checks", "Finished checks by type, result and reason", values)
}

fn lag(encoder: &mut DescriptorEncoder<'_>, shards: &[Snapshot]) -> fmt::Result {
    let help = "Start minus due time of every check";
    let name = "engine_schedule_lateness";
    let mut metric =
        encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for shard in shards {
        let labels = [shard_label(shard)];
        encode_histogram(metric.encode_family(&labels)?, &shard.lag)?;
    }
    Ok(())
}

fn encode_histogram(mut metric: MetricEncoder<'_>, lag: &Histogram<u32>) -> fmt::Result {
    let mut before = 0;
    let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(LAG_BUCKETS.len() + 1);
    for end in LAG_BUCKETS {
        let below = lag.count_between(0, (end * 1e6) as u64);
        buckets.push((end, below - before));
        before = below;
    }
    buckets.push((f64::INFINITY, lag.len() - before));
    let sum = lag.mean() * lag.len() as f64 / 1e6;
    metric.encode_histogram::<[(&str, &str); 0]>(sum, lag.len(), &buckets, None)
}

fn gauges(encoder: &mut DescriptorEncoder<'_>, shards: &[Snapshot]) -> fmt::Result {
    let help = "Monitors by verdict";
    let mut metric = encoder.encode_descriptor("engine_monitors", help, None, MetricType::Gauge)?;
    for verdict in Verdict::ALL {
        let count: u64 = shards.iter().map(|shard| shard.monitors[verdict as usize]).sum();
        let labels = [("verdict", verdict.name())];
        ConstGauge::new(count).encode(metric.encode_family(&labels)?)?;
    }
    type Field = fn(&Snapshot) -> u64;
    let fields: [(&str, &str, Field); 5] = [
        ("engine_checks_open", "Checks in flight or between two attempts", |s| s.ledger.open()),
        ("engine_checks_waiting", "Checks that are due and wait for room", |s| s.waiting),
        ("engine_in_flight", "Probes on the wire", |s| s.in_flight),
        ("engine_in_flight_highest", "Most probes on the wire at once", |s| s.in_flight_max),
        ("engine_shard_backlog_batches", "Batches that wait for the store", |s| s.backlog),
    ];
    for (name, help, field) in fields {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for shard in shards {
            let labels = [shard_label(shard)];
            ConstGauge::new(field(shard)).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn counters(encoder: &mut DescriptorEncoder<'_>, shards: &[Snapshot]) -> fmt::Result {
    type Field = fn(&Snapshot) -> u64;
    let fields: [(&str, &str, Field); 5] = [
        ("engine_shard_turns", "Turns of the shard loop", |s| s.turns),
        ("engine_shard_stalls", "Times a shard could not look at its sockets", |s| s.stalls),
        ("engine_samples_dropped", "Samples the store could not take", |s| s.samples_dropped),
        ("engine_confirmations", "Checks started to confirm a failed one", |s| s.confirmations),
        ("engine_words_skipped", "Messages of repeated failures left out", |s| s.words_skipped),
    ];
    for (name, help, field) in fields {
        let values = shards.iter().map(|shard| (vec![shard_label(shard)], field(shard)));
        counter(encoder, name, help, values)?;
    }
    let help = "CPU time of the shard's thread";
    let name = "engine_shard_cpu";
    let mut metric =
        encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?;
    for shard in shards {
        for (mode, micros) in [("user", shard.cpu_user_us), ("system", shard.cpu_system_us)] {
            let labels = [shard_label(shard), ("mode", mode.to_string())];
            ConstCounter::new(micros as f64 / 1e6).encode(metric.encode_family(&labels)?)?;
        }
    }
    let help = "What the sockets and the resolver of a shard did";
    let values = shards.iter().flat_map(|shard| {
        shard.net.iter().map(|(event, count)| {
            (vec![shard_label(shard), ("event", (*event).to_string())], *count)
        })
    });
    counter(encoder, "engine_net_events", help, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;
    use crate::monitor::Kind;
    use prometheus_client::encoding::text;

    fn page() -> String {
        let published = Published::new(ShardId(1));
        let mut snapshot = Snapshot::empty(ShardId(1));
        snapshot.ledger.start();
        snapshot.ledger.finish(Kind::Tcp, CheckResult::Up);
        snapshot.ledger.miss(Missed::Overrun, 2);
        snapshot.lag.saturating_record(3_000);
        snapshot.monitors[Verdict::Up as usize] = 1;
        published.publish(snapshot);
        let store = || Counts {
            counters: vec![("engine_store_rows", "Rows written", 9)],
            gauges: vec![("engine_spool_records", "Batches that wait", 4)],
        };
        let mut page = String::new();
        text::encode(&mut page, &Page::registry(vec![published], store)).unwrap();
        page
    }

    #[test]
    fn the_ledger_and_its_reasons_are_on_the_page() {
        let page = page();
        for line in [
            "engine_checks_due_total{shard=\"1\"} 3",
            "engine_checks_missed_total{shard=\"1\",reason=\"overrun\"} 2",
            "engine_checks_total{type=\"tcp\",result=\"up\",reason=\"ok\"} 1",
            "engine_monitors{verdict=\"up\"} 1",
            "engine_store_rows_total 9",
            "engine_spool_records 4",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn lag_buckets_add_up_in_seconds() {
        let page = page();
        let bucket = |end: &str, count: u32| {
            format!("engine_schedule_lateness_seconds_bucket{{le=\"{end}\",shard=\"1\"}} {count}")
        };
        assert!(page.contains(&bucket("0.0025", 0)), "{page}");
        assert!(page.contains(&bucket("0.005", 1)), "{page}");
        assert!(page.contains(&bucket("+Inf", 1)), "{page}");
    }
}
