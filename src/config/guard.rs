//! The guard as users write it: which canaries, how often, how many must answer.
//!
//! Owns: the keys of `guard:` and what they may say. A canary is a host (one ICMP echo) or
//! `host:port` (a TCP connect), somewhere that only an outage of our own makes unreachable.

use probes::ProbeSpec;
use probes::spec::{Family, IcmpSpec, TcpSpec};
use serde_json::Value;

use crate::limits::{
    GUARD_CANARIES_MAX, GUARD_INTERVAL_MS_DEFAULT, GUARD_INTERVAL_MS_MAX, GUARD_INTERVAL_MS_MIN,
    GUARD_TIMEOUT_MS_DEFAULT, GUARD_TIMEOUT_MS_MAX, TIMEOUT_MS_MIN,
};
use crate::monitor::address;
use crate::monitor::row::RowError;
use crate::monitor::row::written::{duration_ms, read_into, show_ms};

/// The names that the original service pings.
pub const CANARIES_ORIGINAL: [&str; 4] = ["google.com", "x.com", "vnexpress.net", "github.com"];

/// Somewhere that answers as long as this host is not cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// As written.
    pub name: String,
    /// What to do on the wire.
    pub spec: ProbeSpec,
}

/// What the guard is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardPlan {
    /// All of them are asked in each round; at least one.
    pub canaries: Vec<Canary>,
    /// From one round to the next, in milliseconds.
    pub interval_ms: u64,
    /// Time that a canary has to answer, in milliseconds.
    pub timeout_ms: u32,
    /// Canaries that must answer.
    pub quorum: usize,
}

impl GuardPlan {
    /// Every key.
    pub const KEYS: &'static [&'static str] = &["canaries", "interval", "timeout", "quorum"];

    /// A plan with these canaries and the default times; one answer is enough.
    ///
    /// # Errors
    ///
    /// There is none, there are too many, or one is not understood.
    pub fn with_canaries(names: &[String]) -> Result<GuardPlan, RowError> {
        if names.is_empty() || names.len() > GUARD_CANARIES_MAX {
            let fix =
                format!("write 1 to {GUARD_CANARIES_MAX}, better three in different networks");
            return Err(RowError::new("canaries", "", "none, or too many", fix));
        }
        let canaries = names.iter().map(|name| canary(name)).collect::<Result<_, _>>()?;
        Ok(GuardPlan {
            canaries,
            interval_ms: GUARD_INTERVAL_MS_DEFAULT,
            timeout_ms: GUARD_TIMEOUT_MS_DEFAULT as u32,
            quorum: 1,
        })
    }

    /// Longest time from a loss of the way to the end of a round that began after it, in
    /// milliseconds: a round under way, the pause, and a round.
    pub fn detection_ms(&self) -> u64 {
        self.interval_ms + 2 * u64::from(self.timeout_ms)
    }
}

/// The keys of `guard:` while they are read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    canaries: Option<Vec<String>>,
    interval: Option<String>,
    timeout: Option<String>,
    quorum: Option<u64>,
}

impl Draft {
    /// Sets one key from its value.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> Result<(), RowError> {
        match key {
            "canaries" => read_into(key, value, &mut self.canaries),
            "interval" => read_into(key, value, &mut self.interval),
            "timeout" => read_into(key, value, &mut self.timeout),
            "quorum" => read_into(key, value, &mut self.quorum),
            _ => Err(RowError::unknown_key(key, GuardPlan::KEYS)),
        }
    }

    /// The plan, or everything that is wrong with it.
    pub(super) fn finish(self) -> Result<GuardPlan, Vec<RowError>> {
        let mut errors = Vec::new();
        let names = self.canaries.unwrap_or_default();
        let plan = GuardPlan::with_canaries(&names).map_err(|error| errors.push(error)).ok();
        let bounds = GUARD_INTERVAL_MS_MIN..=GUARD_INTERVAL_MS_MAX;
        let interval = duration("interval", self.interval, bounds, &mut errors);
        let bounds = TIMEOUT_MS_MIN..=GUARD_TIMEOUT_MS_MAX;
        let timeout = duration("timeout", self.timeout, bounds, &mut errors);
        let quorum = self.quorum.unwrap_or(1);
        if let Some(plan) = &plan
            && !(1..=plan.canaries.len() as u64).contains(&quorum)
        {
            let fix = format!("write 1 to {}, the number of canaries", plan.canaries.len());
            errors.push(RowError::new("quorum", &quorum.to_string(), "is out of bounds", fix));
        }
        match plan {
            Some(plan) if errors.is_empty() => Ok(GuardPlan {
                interval_ms: interval.unwrap_or(plan.interval_ms),
                timeout_ms: timeout.map_or(plan.timeout_ms, |timeout| timeout as u32),
                quorum: quorum as usize,
                ..plan
            }),
            _ => Err(errors),
        }
    }
}

fn duration(
    key: &str,
    written: Option<String>,
    bounds: std::ops::RangeInclusive<u64>,
    errors: &mut Vec<RowError>,
) -> Option<u64> {
    let text = written?;
    let millis = duration_ms(&text).filter(|millis| bounds.contains(millis));
    if millis.is_none() {
        let fix = format!("write {} to {}", show_ms(*bounds.start()), show_ms(*bounds.end()));
        errors.push(RowError::new(key, &text, "is no duration within bounds", fix));
    }
    millis
}

fn canary(name: &str) -> Result<Canary, RowError> {
    let (text, family) = (name.trim(), Family::Any);
    let spec = if address::names_port(text) {
        address::host_port(text).map(|(host, port)| {
            ProbeSpec::Tcp(TcpSpec { host, port, family, expect_closed: false })
        })
    } else {
        address::host(text).map(|host| ProbeSpec::Icmp(IcmpSpec { host, family }))
    };
    match spec {
        Ok(spec) => Ok(Canary { name: text.to_owned(), spec }),
        Err(error) => {
            let shown = address::masked_widely(text);
            Err(RowError::new("canaries", &shown, error.problem, error.fix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, Value)]) -> Result<GuardPlan, Vec<String>> {
        let mut draft = Draft::default();
        for (key, value) in values {
            draft.set(key, value).map_err(|error| vec![error.to_string()])?;
        }
        let told = |errors: Vec<RowError>| errors.iter().map(RowError::to_string).collect();
        draft.finish().map_err(told)
    }

    #[test]
    fn canaries_with_a_port_are_connected_to_and_others_pinged() {
        let canaries = Value::from(vec!["192.0.2.1", "[2001:db8::1]:53", "example.net:443"]);
        let plan = read(&[("canaries", canaries), ("quorum", Value::from(2))]).unwrap();
        let is_tcp = |canary: &Canary| matches!(canary.spec, ProbeSpec::Tcp(_));
        assert_eq!(plan.canaries.iter().map(is_tcp).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!((plan.quorum, plan.interval_ms, plan.timeout_ms), (2, 1_000, 2_000));
        assert_eq!(plan.detection_ms(), 5_000);
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        let wrong = read(&[
            ("canaries", Value::from(vec!["192.0.2.1"])),
            ("interval", Value::from("1ms")),
            ("quorum", Value::from(2)),
        ]);
        let wrong = wrong.unwrap_err();
        assert_eq!(wrong[0], "interval: 1ms is no duration within bounds; write 500ms to 1m");
        assert_eq!(wrong[1], "quorum: 2 is out of bounds; write 1 to 1, the number of canaries");
        assert!(read(&[]).unwrap_err()[0].starts_with("canaries: none, or too many; write 1"));
        let wrong = read(&[("canary", Value::from("192.0.2.1"))]).unwrap_err();
        assert_eq!(wrong[0], "unknown key `canary`; did you mean `canaries`?");
        let original: Vec<String> = CANARIES_ORIGINAL.map(str::to_owned).to_vec();
        assert_eq!(GuardPlan::with_canaries(&original).unwrap().canaries.len(), 4);
    }
}
