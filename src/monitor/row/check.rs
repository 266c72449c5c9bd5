//! From a row to a checked monitor: every value bounded, every missing one filled in.
//!
//! Owns: which keys fit which type, the two presets, timing, targets. `web` does the part that only
//! web checks have. Collects all errors of a row. Opens nothing and resolves nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use probes::ProbeSpec;
use probes::spec::{Family, Host, HttpSpec, IcmpSpec, TcpSpec, TlsOptions, TlsSpec};

use super::super::{About, Kind, Monitor, Preset, Timing, address};
use super::written::{duration_ms, show_ms};
use super::{Interner, MonitorRow, RowError, web};
use crate::ids::MonitorId;
use crate::limits::*;

/// A monitor that may run: what people see of it and what its shard does, without its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What people see.
    pub about: About,
    /// The sort of check.
    pub kind: Kind,
    /// Where missing values came from.
    pub preset: Preset,
    /// True where it is not to be checked now.
    pub paused: bool,
    /// True where its failures are not believed while this host is cut off.
    pub guarded: bool,
    /// How often, how long and how many times.
    pub timing: Timing,
    /// What to do on the wire.
    pub spec: ProbeSpec,
}

impl Checked {
    /// The part that runs, under its number.
    pub fn monitor(self, id: MonitorId) -> Monitor {
        self.parts(id).1
    }

    /// The part that people see, and the one that runs, under its number.
    pub fn parts(self, id: MonitorId) -> (About, Monitor) {
        let Checked { about, kind, preset, paused, guarded, timing, spec } = self;
        let spec = Arc::new(spec);
        (about, Monitor { id, kind, preset, paused, guarded, timing, spec })
    }
}

/// Checks a row and fills in what it does not say. Equal HTTP options are shared by `interner`.
///
/// # Errors
///
/// Everything that is wrong with the row, in the order of [`MonitorRow::KEYS`]; never empty.
pub fn check(row: &MonitorRow, interner: &mut Interner) -> Result<Checked, Vec<RowError>> {
    let mut reader = Reader { row, preset: Preset::Standard, errors: Vec::new() };
    let checked = reader.checked(interner);
    match checked {
        Some(checked) if reader.errors.is_empty() => Ok(checked),
        _ => {
            let place =
                |error: &RowError| MonitorRow::KEYS.iter().position(|key| *key == error.field);
            reader.errors.sort_by_key(place);
            Err(reader.errors)
        }
    }
}

/// True where a monitor of this kind may have this key.
pub(super) fn fits(key: &str, kind: Kind) -> bool {
    let web = matches!(kind, Kind::PingWeb | Kind::WebContent);
    match key {
        "port" => !web && kind != Kind::PingIcmp,
        "method" | "headers" | "body" | "statuses" | "redirects" | "body_limit" | "compression"
        | "keep_detail" | "keep_alive" | "tls_resume" => web,
        "contains" | "not_contains" | "result_valid" | "result_error" => kind == Kind::WebContent,
        "tls_verify" | "server_name" | "ca_file" => web || kind == Kind::SslExpiredCheck,
        "expire_days" => kind == Kind::SslExpiredCheck,
        _ => true,
    }
}

/// True for an address whose way does not lead through the connection that a guard watches:
/// this host itself, and networks that are nobody else's.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Addr { ip: IpAddr::V4(ip), .. } => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local()
        }
        Host::Addr { ip: IpAddr::V6(ip), .. } => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Host::Name(name) => &**name == "localhost",
    }
}

/// Reads one row and keeps its errors. What cannot be read counts as its default meanwhile, so
/// that the errors after it are found too.
pub(super) struct Reader<'a> {
    pub(super) row: &'a MonitorRow,
    pub(super) preset: Preset,
    errors: Vec<RowError>,
}

impl Reader<'_> {
    fn checked(&mut self, interner: &mut Interner) -> Option<Checked> {
        self.preset = self.preset();
        let kind = self.kind();
        let tags = self.tags();
        let family = self.family();
        let target = self.row.target.as_deref().unwrap_or_default().trim();
        if target.is_empty() {
            self.bad("target", "", "is missing", "write what to check: a URL, host:port or host");
        }
        let timing = self.timing(kind.unwrap_or(Kind::PingWeb));
        if self.row.depends_on.as_ref().is_some_and(|names| names.len() > PARENTS_MAX) {
            self.bad("depends_on", "", "too many", format!("write at most {PARENTS_MAX}"));
        }
        if self.row.keep_alive == Some(true) && timing.interval_ms > KEEP_ALIVE_INTERVAL_MS_MAX {
            let fix = format!("remove it, or check every {} s", KEEP_ALIVE_INTERVAL_MS_MAX / 1_000);
            self.bad("keep_alive", "true", "the connection would not last that long", fix);
        }
        let kind = kind?;
        self.refuse_misfits(kind);
        let spec = self.spec(kind, target, family, interner);
        let target = address::masked(target);
        let name = self.name(&target);
        let paused = self.row.paused.unwrap_or(false);
        let about = About { name, target, tags };
        let spec = spec?;
        let guarded = self.row.guard.unwrap_or_else(|| !is_near(spec.host()));
        Some(Checked { about, kind, preset: self.preset, paused, guarded, timing, spec })
    }

    pub(super) fn bad(
        &mut self,
        field: &str,
        value: &str,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.errors.push(RowError::new(field, value, problem, fix));
    }

    fn preset(&mut self) -> Preset {
        match self.row.preset.as_deref() {
            None | Some("standard") => Preset::Standard,
            Some("original") => Preset::Original,
            Some(other) => {
                self.bad("preset", other, "is not a preset", "write standard or original");
                Preset::Standard
            }
        }
    }

    fn kind(&mut self) -> Option<Kind> {
        let kinds = Kind::ALL.map(Kind::name);
        let Some(name) = self.row.kind.as_deref() else {
            self.bad("type", "", "is missing", format!("write one of {}", kinds.join(", ")));
            return None;
        };
        let kind = Kind::from_name(name);
        if kind.is_none() {
            let fix = match super::nearest(name, &kinds) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("write one of {}", kinds.join(", ")),
            };
            self.bad("type", name, "is not a type", fix);
        }
        kind
    }

    /// Keys that say nothing for this kind. The original's tables have its two keyword columns for
    /// every kind, and there only `web_content` looks at them.
    fn refuse_misfits(&mut self, kind: Kind) {
        let original = self.preset == Preset::Original;
        for key in self.row.given().filter(|key| !fits(key, kind)) {
            if original && (key == "result_valid" || key == "result_error") {
                continue;
            }
            let types = Kind::ALL.into_iter().filter(|kind| fits(key, *kind)).map(Kind::name);
            let types = types.collect::<Vec<_>>().join(", ");
            let problem = format!("does not fit type {}", kind.name());
            self.bad(key, "", problem, format!("remove it; it belongs to {types}"));
        }
    }

    fn name(&mut self, target: &str) -> String {
        let name = match self.row.name.as_deref().map(str::trim) {
            Some(name) => name,
            None => return target[..target.floor_char_boundary(NAME_BYTES_MAX)].to_owned(),
        };
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let fix = format!("write 1 to {NAME_BYTES_MAX} bytes of plain text");
            self.bad("name", name, "is not a name", fix);
        }
        name.to_owned()
    }

    fn tags(&mut self) -> Vec<String> {
        let tags = self.row.tags.as_deref().unwrap_or_default();
        if tags.len() > TAGS_MAX {
            self.bad("tags", "", "too many", format!("write at most {TAGS_MAX}"));
            return Vec::new();
        }
        let mut kept = BTreeSet::new();
        for tag in tags.iter().map(|tag| tag.trim()) {
            if tag.is_empty() || tag.len() > TAG_BYTES_MAX || tag.chars().any(char::is_control) {
                let fix = format!("write 1 to {TAG_BYTES_MAX} bytes of plain text");
                self.bad("tags", tag, "is not a tag", fix);
            }
            kept.insert(tag.to_owned());
        }
        kept.into_iter().collect()
    }

    fn family(&mut self) -> Family {
        match self.row.family.as_deref() {
            None | Some("any") => Family::Any,
            Some("v4") => Family::V4,
            Some("v6") => Family::V6,
            Some(other) => {
                self.bad("family", other, "is not an address family", "write any, v4 or v6");
                Family::Any
            }
        }
    }

    fn timing(&mut self, kind: Kind) -> Timing {
        let row = self.row;
        let (interval, timeout, retries) = match (self.preset, kind) {
            (Preset::Standard, _) => (INTERVAL_MS_DEFAULT, TIMEOUT_MS_DEFAULT, 0),
            (Preset::Original, Kind::PingWeb | Kind::WebContent) => {
                (INTERVAL_MS_ORIGINAL, TIMEOUT_WEB_MS_ORIGINAL, RETRIES_ORIGINAL)
            }
            (Preset::Original, Kind::SslExpiredCheck) => {
                (INTERVAL_MS_ORIGINAL, TIMEOUT_TLS_MS_ORIGINAL, RETRIES_ORIGINAL)
            }
            (Preset::Original, _) => (INTERVAL_MS_ORIGINAL, TIMEOUT_MS_ORIGINAL, RETRIES_ORIGINAL),
        };
        let written = row.interval.as_deref();
        let interval_ms =
            self.duration("interval", written, interval, INTERVAL_MS_MIN..=INTERVAL_MS_MAX);
        if !interval_ms.is_multiple_of(TICK_MS) {
            let near = show_ms(interval_ms.next_multiple_of(TICK_MS));
            let problem = format!("is not a multiple of {}", show_ms(TICK_MS));
            self.bad("interval", &show_ms(interval_ms), problem, format!("write {near}"));
        }
        let written = row.timeout.as_deref();
        let timeout_ms =
            self.duration("timeout", written, timeout, TIMEOUT_MS_MIN..=TIMEOUT_MS_MAX);
        let delay = row.retry_delay.as_deref();
        let retry_delay_ms =
            self.duration("retry_delay", delay, RETRY_DELAY_MS_DEFAULT, 0..=RETRY_DELAY_MS_MAX);
        let pause = row.confirm_interval.as_deref();
        let confirm_ms = self.duration(
            "confirm_interval",
            pause,
            CONFIRM_INTERVAL_MS_DEFAULT,
            0..=CONFIRM_INTERVAL_MS_MAX,
        );
        Timing {
            interval_ms,
            confirm_ms: u32::try_from(confirm_ms).unwrap_or(u32::MAX),
            timeout_ms: u32::try_from(timeout_ms).unwrap_or(u32::MAX),
            retry_delay_ms: u32::try_from(retry_delay_ms).unwrap_or(u32::MAX),
            retries: self.number("retries", row.retries, retries, 0, RETRIES_MAX),
            fall: self.number("fall", row.fall, 1, 1, CONFIRM_MAX),
            rise: self.number("rise", row.rise, 1, 1, CONFIRM_MAX),
        }
    }

    fn duration(
        &mut self,
        field: &str,
        written: Option<&str>,
        default: u64,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> u64 {
        let Some(text) = written else { return default };
        let (min, max) = (show_ms(*bounds.start()), show_ms(*bounds.end()));
        match duration_ms(text) {
            None => self.bad(field, text, "is not a duration", "write it like 500ms, 30s or 1h30m"),
            Some(millis) if millis < *bounds.start() => {
                self.bad(
                    field,
                    text,
                    format!("is shorter than {min}"),
                    format!("write {min} or more"),
                );
            }
            Some(millis) if millis > *bounds.end() => {
                self.bad(
                    field,
                    text,
                    format!("is longer than {max}"),
                    format!("write {max} or less"),
                );
            }
            Some(millis) => return millis,
        }
        default
    }

    /// A number within its bounds, both included.
    pub(super) fn number<N>(
        &mut self,
        field: &str,
        written: Option<u64>,
        default: N,
        min: N,
        max: N,
    ) -> N
    where
        N: TryFrom<u64> + Copy + PartialOrd + std::fmt::Display,
    {
        let Some(written) = written else { return default };
        match N::try_from(written) {
            Ok(number) if number >= min && number <= max => number,
            _ => {
                let fix = format!("write a number from {min} to {max}");
                self.bad(field, &written.to_string(), "is out of bounds", fix);
                default
            }
        }
    }

    fn spec(
        &mut self,
        kind: Kind,
        target: &str,
        family: Family,
        interner: &mut Interner,
    ) -> Option<ProbeSpec> {
        let spec = match kind {
            Kind::PingWeb | Kind::WebContent => {
                let read = address::http_target(target, self.preset);
                let read = self.target(target, read);
                let credentials = read.as_ref().and_then(|target| target.credentials.as_deref());
                let options = web::options(self, kind, credentials, family);
                let url = read?.url;
                ProbeSpec::Http(Box::new(HttpSpec { url, options: interner.share(options) }))
            }
            Kind::Tcp | Kind::OpenPortTcpThenValid | Kind::OpenPortTcpThenError => {
                let (host, port) = self.host_and_port(target, address::host_port)?;
                let expect_closed = kind == Kind::OpenPortTcpThenError;
                ProbeSpec::Tcp(TcpSpec { host, port, family, expect_closed })
            }
            Kind::PingIcmp => {
                let host = self.target(target, address::host(target))?;
                ProbeSpec::Icmp(IcmpSpec { host, family })
            }
            Kind::SslExpiredCheck => {
                let tls = self.tls(true);
                let (default, max) = (EXPIRE_DAYS_DEFAULT, EXPIRE_DAYS_MAX);
                let expire_days = self.number("expire_days", self.row.expire_days, default, 0, max);
                let preset = self.preset;
                let (host, port) =
                    self.host_and_port(target, |text| address::tls_host_port(text, preset))?;
                ProbeSpec::Tls(Box::new(TlsSpec { host, port, family, expire_days, tls }))
            }
        };
        if let Host::Addr { ip, .. } = spec.host()
            && !family.allows(*ip)
        {
            let fix = "write any, or the family of the target's address";
            self.bad(
                "family",
                self.row.family.as_deref().unwrap_or("any"),
                "rules the target out",
                fix,
            );
        }
        Some(spec)
    }

    /// The key `port` stands for a port in the target and must not contradict one.
    fn host_and_port(
        &mut self,
        target: &str,
        read: impl Fn(&str) -> Result<(Host, u16), address::AddressError>,
    ) -> Option<(Host, u16)> {
        let Some(port) = self.row.port else { return self.target(target, read(target)) };
        let port = self.number("port", Some(port), 1u16, 1, u16::MAX);
        let named = read(target).ok().filter(|_| address::names_port(target));
        if named.is_some_and(|(_, named)| named != port) {
            self.bad("port", &port.to_string(), "is not the port in the target", "remove one");
            return None;
        }
        self.target(target, address::host(target)).map(|host| (host, port))
    }

    /// What was read from the target, or its error; an empty target has one already.
    fn target<T>(&mut self, text: &str, read: Result<T, address::AddressError>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                if !text.is_empty() {
                    let shown = address::masked_widely(text);
                    self.bad("target", &shown, error.problem, error.fix);
                }
                None
            }
        }
    }

    /// How a handshake is done; `verify` where the row does not say.
    pub(super) fn tls(&mut self, verify: bool) -> TlsOptions {
        let row = self.row;
        let server_name = row.server_name.as_deref().and_then(|name| match address::host(name) {
            Ok(Host::Name(name)) => Some(name),
            Ok(Host::Addr { ip, .. }) => Some(ip.to_string().into()),
            Err(error) => {
                self.bad("server_name", name, error.problem, error.fix);
                None
            }
        });
        if let Some(path) = row.ca_file.as_deref()
            && (!path.starts_with('/')
                || path.len() > PATH_BYTES_MAX
                || path.chars().any(char::is_control))
        {
            self.bad("ca_file", path, "is not a full path", "write the path from / on");
        }
        let ca_file = row.ca_file.as_deref().map(Into::into);
        TlsOptions {
            verify: row.tls_verify.unwrap_or(verify),
            server_name,
            ca_file,
            resume: row.tls_resume.unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests;
