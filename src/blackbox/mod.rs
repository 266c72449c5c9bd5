//! `blackbox.yml` of blackbox_exporter: modules become the checks that this engine makes.
//!
//! Owns: the keys of the http, tcp, icmp and dns modules, and what of them can be kept. A key that
//! would make a check say something else than it does there is a problem of its module: the module
//! is kept and answers with the problem, the others work. [`answer`] writes what a check found
//! under the names of blackbox_exporter.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::monitor::Kind;
use crate::monitor::row::MonitorRow;
use crate::monitor::row::written::duration_ms;

pub mod answer;

mod pattern;

pub mod dns;

use dns::Dns;
pub use pattern::HeaderRule;

/// One module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// What it asks for, without a target.
    pub row: MonitorRow,
    /// Its own deadline, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Whether the answer must come over TLS (`Some(true)`) or must not.
    pub tls_wanted: Option<bool>,
    /// What header fields must be.
    pub headers: Vec<HeaderRule>,
    /// What a dns module asks; its row says the address family only.
    pub dns: Option<Dns>,
    /// What of it cannot be kept, in words; it is not to be used then.
    pub problems: Vec<String>,
}

/// All modules by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modules(BTreeMap<String, Module>);

impl Modules {
    /// What there is without a file: `http_2xx`, `http_post_2xx`, `tcp_connect`, `tls_connect` and
    /// `icmp`.
    pub fn standard() -> Modules {
        let module = |kind: Kind| Module { row: row_of(kind), ..Module::default() };
        let mut http = module(Kind::PingWeb);
        http.row.statuses = Some(vec!["2xx".into()]);
        let mut post = http.clone();
        post.row.method = Some("POST".into());
        let modules = [
            ("http_2xx", http),
            ("http_post_2xx", post),
            ("tcp_connect", module(Kind::Tcp)),
            ("tls_connect", module(Kind::SslExpiredCheck)),
            ("icmp", module(Kind::PingIcmp)),
        ];
        Modules(modules.map(|(name, module)| (name.to_owned(), module)).into())
    }

    /// Reads a whole `blackbox.yml`, already parsed.
    ///
    /// # Errors
    ///
    /// It has no `modules:`.
    pub fn read(file: &Value) -> Result<Modules, String> {
        let modules = file.get("modules").and_then(Value::as_object);
        let modules = modules.ok_or("write `modules:` with a map below it")?;
        let read = modules.iter().map(|(name, module)| (name.clone(), Module::read(module)));
        Ok(Modules(read.collect()))
    }

    /// The module with this name.
    pub fn get(&self, name: &str) -> Option<&Module> {
        self.0.get(name)
    }

    /// Every module with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Module)> {
        self.0.iter()
    }
}

fn row_of(kind: Kind) -> MonitorRow {
    let expire_days = (kind == Kind::SslExpiredCheck).then_some(0);
    MonitorRow { kind: Some(kind.name().into()), expire_days, ..MonitorRow::default() }
}

impl Module {
    fn read(module: &Value) -> Module {
        let mut reader = Reader::default();
        let prober = module.get("prober").and_then(Value::as_str).unwrap_or("");
        let kind = match prober {
            "http" => Kind::PingWeb,
            "tcp" => Kind::Tcp,
            "icmp" => Kind::PingIcmp,
            "dns" => {
                reader.module.dns = Some(Dns::default());
                Kind::Tcp
            }
            other => {
                reader.problem("prober", &format!("{other:?} is none of http, tcp, icmp, dns"));
                Kind::Tcp
            }
        };
        reader.module.row = row_of(kind);
        for (key, value) in entries(module) {
            match key.as_str() {
                "prober" => {}
                "timeout" => reader.timeout(value),
                _ if key == prober => entries(value).for_each(|(key, value)| match prober {
                    "http" => reader.http(key, value),
                    "tcp" => reader.tcp(key, value),
                    "dns" => reader.dns(key, value),
                    _ => reader.icmp(key, value),
                }),
                // blackbox_exporter ignores what belongs to another prober.
                "http" | "tcp" | "icmp" | "dns" | "grpc" => {}
                _ => reader.unknown(key),
            }
        }
        reader.finish(kind)
    }

    /// The row that checks `target`, and nothing else than it says. `hostname` is the name for the
    /// Host field and for TLS.
    ///
    /// # Errors
    ///
    /// The problems of the module.
    pub fn row_for(
        &self,
        target: &str,
        hostname: Option<&str>,
        timeout_ms: u64,
    ) -> Result<MonitorRow, String> {
        if !self.problems.is_empty() {
            return Err(self.problems.join("; "));
        }
        if self.dns.is_some() {
            return Err("dns: only /probe asks name servers, no type of monitor does".into());
        }
        let mut row = self.row.clone();
        let kind = row.kind.as_deref().and_then(Kind::from_name);
        let web = matches!(kind, Some(Kind::PingWeb | Kind::WebContent));
        let bare = web && !target.starts_with("http://") && !target.starts_with("https://");
        row.target = Some(if bare { format!("http://{target}") } else { target.to_owned() });
        row.timeout = Some(format!("{timeout_ms}ms"));
        row.keep_detail = web.then_some(true);
        if let Some(name) = hostname {
            if web {
                let headers = row.headers.get_or_insert_default();
                headers.retain(|known, _| !known.eq_ignore_ascii_case("host"));
                headers.insert("Host".into(), vec![name.to_owned()]);
            }
            let names_tls = kind == Some(Kind::SslExpiredCheck)
                || row.target.as_deref().is_some_and(|target| target.starts_with("https://"));
            if names_tls {
                row.server_name.get_or_insert_with(|| name.to_owned());
            }
        }
        Ok(row)
    }
}

/// One module while it is read.
#[derive(Default)]
struct Reader {
    module: Module,
    preferred: Option<String>,
    no_fallback: bool,
    with_tls: bool,
}

impl Reader {
    fn problem(&mut self, key: &str, text: &str) {
        self.module.problems.push(format!("{key}: {text}"));
    }

    fn unknown(&mut self, key: &str) {
        self.problem(
            key,
            "this engine does not know the key; remove it or keep the other exporter",
        );
    }

    fn timeout(&mut self, value: &Value) {
        match value.as_str().and_then(duration_ms) {
            Some(millis) => self.module.timeout_ms = Some(millis),
            None => self.problem("timeout", "write it like 5s"),
        }
    }

    /// Keys that all three have.
    fn common(&mut self, key: &str, value: &Value) -> bool {
        match key {
            "preferred_ip_protocol" => self.preferred = value.as_str().map(str::to_owned),
            "ip_protocol_fallback" => self.no_fallback = is(value, false),
            _ => return false,
        }
        true
    }

    fn http(&mut self, key: &str, value: &Value) {
        let row = &mut self.module.row;
        match key {
            "valid_status_codes" => row.statuses = Some(texts(value)).filter(|all| !all.is_empty()),
            "method" => row.method = text(value),
            "body" => row.body = text(value),
            "body_size_limit" => row.body_limit = text(value),
            "headers" => {
                for (name, value) in entries(value) {
                    self.header(name, &text(value).unwrap_or_default());
                }
            }
            "follow_redirects" if is(value, false) => row.redirects = Some(0),
            "no_follow_redirects" if is(value, true) => row.redirects = Some(0),
            "follow_redirects" | "no_follow_redirects" => {}
            "fail_if_ssl" if is(value, true) => self.module.tls_wanted = Some(false),
            "fail_if_not_ssl" if is(value, true) => self.module.tls_wanted = Some(true),
            "fail_if_ssl" | "fail_if_not_ssl" => {}
            "fail_if_body_matches_regexp" => {
                let plain = self.plain(key, value);
                self.module.row.not_contains = Some(plain).filter(|all| !all.is_empty());
            }
            "fail_if_body_not_matches_regexp" => {
                let plain = self.plain(key, value);
                self.module.row.contains = Some(plain).filter(|all| !all.is_empty());
            }
            "fail_if_header_matches" => self.header_rules(key, value, false),
            "fail_if_header_not_matches" => self.header_rules(key, value, true),
            "basic_auth" => self.basic(value),
            "bearer_token" => {
                self.header(
                    "Authorization",
                    &format!("Bearer {}", text(value).unwrap_or_default()),
                );
            }
            "bearer_token_file" => {
                let token = self.file(key, value);
                self.header("Authorization", &format!("Bearer {token}"));
            }
            "tls_config" => entries(value).for_each(|(key, value)| self.tls_config(key, value)),
            _ if self.common(key, value) => {}
            _ => self.unknown(&format!("http.{key}")),
        }
    }

    fn tcp(&mut self, key: &str, value: &Value) {
        match key {
            "tls" => self.with_tls = is(value, true),
            "tls_config" => entries(value).for_each(|(key, value)| self.tls_config(key, value)),
            "query_response" if value.as_array().is_some_and(Vec::is_empty) => {}
            _ if self.common(key, value) => {}
            _ => self.unknown(&format!("tcp.{key}")),
        }
    }

    fn icmp(&mut self, key: &str, value: &Value) {
        if !self.common(key, value) {
            self.unknown(&format!("icmp.{key}"));
        }
    }

    fn dns(&mut self, key: &str, value: &Value) {
        let taken = self.module.dns.as_mut().map(|dns| dns.set(key, value));
        match taken {
            Some(Ok(true)) => {}
            Some(Err(told)) => self.problem(&format!("dns.{key}"), &told),
            _ if self.common(key, value) => {}
            _ => self.unknown(&format!("dns.{key}")),
        }
    }

    fn header_rules(&mut self, key: &str, value: &Value, wanted: bool) {
        for rule in value.as_array().into_iter().flatten() {
            match HeaderRule::read(rule, wanted) {
                Ok(rule) => self.module.headers.push(rule),
                Err(told) => self.problem(&format!("http.{key}"), &told),
            }
        }
    }

    fn tls_config(&mut self, key: &str, value: &Value) {
        let row = &mut self.module.row;
        match key {
            "insecure_skip_verify" => row.tls_verify = is(value, true).then_some(false),
            "ca_file" => row.ca_file = text(value),
            "server_name" => row.server_name = text(value),
            _ => self.unknown(&format!("tls_config.{key}")),
        }
    }

    fn header(&mut self, name: &str, value: &str) {
        let headers = self.module.row.headers.get_or_insert_default();
        headers.insert(name.to_owned(), vec![value.to_owned()]);
    }

    fn basic(&mut self, value: &Value) {
        let part = |key: &str| value.get(key).and_then(text).unwrap_or_default();
        let password = match value.get("password_file") {
            Some(path) => self.file("basic_auth.password_file", path),
            None => part("password"),
        };
        let pair = STANDARD.encode(format!("{}:{password}", part("username")));
        self.header("Authorization", &format!("Basic {pair}"));
    }

    fn file(&mut self, key: &str, path: &Value) -> String {
        let path = text(path).unwrap_or_default();
        match fs::read_to_string(&path) {
            Ok(secret) => secret.trim().to_owned(),
            Err(error) => {
                self.problem(key, &format!("{path}: {error}"));
                String::new()
            }
        }
    }

    /// Regular expressions that are plain texts, without their escapes.
    fn plain(&mut self, key: &str, value: &Value) -> Vec<String> {
        let mut plain = Vec::new();
        for expression in texts(value) {
            match plain_text(&expression) {
                Some(text) => plain.push(text),
                None => {
                    let told = format!("{expression:?} is more than a plain text");
                    self.problem(&format!("http.{key}"), &told);
                }
            }
        }
        plain
    }

    fn finish(mut self, kind: Kind) -> Module {
        let family = match self.preferred.as_deref() {
            Some("ip4") if self.no_fallback => Some("v4"),
            // The exporter prefers IPv6 where nothing is said.
            Some("ip6") | None if self.no_fallback => Some("v6"),
            Some("ip4" | "ip6") | None => None,
            Some(other) => {
                self.problem("preferred_ip_protocol", &format!("{other:?} is no ip4 or ip6"));
                None
            }
        };
        if let Some(missing) = self.module.dns.as_ref().and_then(Dns::missing) {
            self.problem("dns", missing);
        }
        let row = &mut self.module.row;
        row.family = family.map(str::to_owned);
        if kind == Kind::PingWeb {
            row.statuses.get_or_insert_with(|| vec!["2xx".to_owned()]);
            if row.contains.is_some() || row.not_contains.is_some() {
                row.kind = Some(Kind::WebContent.name().to_owned());
            }
        }
        if kind == Kind::Tcp && self.with_tls {
            row.kind = Some(Kind::SslExpiredCheck.name().to_owned());
            row.expire_days = Some(0);
        } else if kind == Kind::Tcp {
            (row.tls_verify, row.ca_file, row.server_name) = (None, None, None);
        }
        self.module
    }
}

/// The entries of a map; none of anything else.
fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

fn is(value: &Value, wanted: bool) -> bool {
    value.as_str().is_some_and(|text| text == if wanted { "true" } else { "false" })
}

/// The text that a regular expression stands for; `None` where it is more than that.
pub fn plain_text(expression: &str) -> Option<String> {
    let mut plain = String::new();
    let mut characters = expression.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                escaped if escaped.is_ascii_punctuation() => plain.push(escaped),
                _ => return None,
            },
            '.' | '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => {
                return None;
            }
            other => plain.push(other),
        }
    }
    (!plain.is_empty()).then_some(plain)
}

#[cfg(test)]
mod tests;
