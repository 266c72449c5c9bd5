//! The dns prober of blackbox_exporter: what is asked, what counts as a good answer, its metrics.
//!
//! Owns: the keys of a dns module and its rules. Leaves to others: sockets (`api::v1`). A record is
//! matched in the form of a zone file, fields between tabs, as the exporter writes it.

use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use serde_json::Value;

use super::answer::{address, one};
use super::pattern::Pattern;
use super::{entries, is, text, texts};
use crate::metrics::text::{Sort, Text};

/// What a dns module asks, and what it wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    query: Query,
    recursion: bool,
    /// True for TCP.
    pub over_tcp: bool,
    rcodes: Vec<ResponseCode>,
    /// For answers, authorities and additional records.
    rules: [Rules; 3],
}

/// Which records must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    /// No record may match any.
    none_may: Vec<Pattern>,
    /// Every record must match every one.
    all_must: Vec<Pattern>,
    /// The same; and there must be a record.
    each_must: Vec<Pattern>,
    /// One record must match one.
    some_must: Vec<Pattern>,
}

/// What became of a query, with durations in seconds.
#[derive(Debug)]
pub struct Exchange {
    /// Who was asked.
    pub server: IpAddr,
    /// To find its address.
    pub resolve_s: f64,
    /// To connect to it.
    pub connect_s: f64,
    /// From the query to its answer.
    pub request_s: f64,
    /// The answer; or why there is none, in words.
    pub reply: Result<Message, String>,
}

impl Default for Dns {
    fn default() -> Dns {
        Dns {
            query: Query::query(Name::root(), RecordType::ANY),
            recursion: true,
            over_tcp: false,
            rcodes: vec![ResponseCode::NoError],
            rules: Default::default(),
        }
    }
}

/// Codes by the names that the exporter knows them by.
fn rcode(name: &str) -> Option<ResponseCode> {
    let names = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
        "NXRRSET", "NOTAUTH", "NOTZONE",
    ];
    let number = names.iter().position(|known| *known == name)?;
    Some(ResponseCode::from_low(u8::try_from(number).ok()?))
}

impl Dns {
    /// Takes a key of the module. `Ok(false)` where it is not known.
    ///
    /// # Errors
    ///
    /// What is wrong with its value.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> Result<bool, String> {
        let word = text(value).unwrap_or_default();
        match key {
            "query_name" => {
                let mut name = Name::from_ascii(&word).map_err(|error| error.to_string())?;
                name.set_fqdn(true);
                self.query.name = name;
            }
            "query_type" => {
                let unknown = |_| format!("{word:?} is no type of record");
                self.query.query_type = word.parse::<RecordType>().map_err(unknown)?;
            }
            "query_class" => {
                let unknown = |_| format!("{word:?} is no class");
                self.query.query_class = word.parse::<DNSClass>().map_err(unknown)?;
            }
            "recursion_desired" => self.recursion = !is(value, false),
            "transport_protocol" => match word.as_str() {
                "udp" | "tcp" => self.over_tcp = word == "tcp",
                _ => return Err(format!("{word:?} is none of udp, tcp")),
            },
            "dns_over_tls" if is(value, false) => {}
            "valid_rcodes" => {
                let known = |name: &String| rcode(name).ok_or(format!("{name:?} is no code"));
                self.rcodes = texts(value).iter().map(known).collect::<Result<_, _>>()?;
            }
            "validate_answer_rrs" => self.rules[0] = Rules::read(value)?,
            "validate_authority_rrs" => self.rules[1] = Rules::read(value)?,
            "validate_additional_rrs" => self.rules[2] = Rules::read(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is missing of the module.
    pub(super) fn missing(&self) -> Option<&'static str> {
        let is_named = self.query.name != Name::root() || self.query.query_type != RecordType::ANY;
        (!is_named).then_some("query_name: is missing")
    }

    /// The query as sent; `None` where it cannot be encoded.
    pub fn encode(&self, id: u16) -> Option<Vec<u8>> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion;
        message.add_query(self.query.clone());
        message.to_vec().ok()
    }

    /// Reads what came; `None` for anything but the answer to query `id`.
    pub fn read(&self, id: u16, bytes: &[u8]) -> Option<Message> {
        let message = Message::from_vec(bytes).ok()?;
        let metadata = &message.metadata;
        let is_ours = metadata.id == id && metadata.message_type == MessageType::Response;
        let asked = message.queries.first().is_none_or(|query| *query == self.query);
        (is_ours && asked).then_some(message)
    }

    /// Why an answer is not good, in words.
    pub fn fault(&self, message: &Message) -> Option<String> {
        let code = message.metadata.response_code;
        if !self.rcodes.contains(&code) {
            return Some(format!("the server says {code}"));
        }
        let sections = [
            ("answer", &message.answers),
            ("authority", &message.authorities),
            ("additional", &message.additionals),
        ];
        let faults = sections.iter().zip(&self.rules).map(|((name, records), rules)| {
            let records: Vec<String> = records.iter().map(written).collect();
            Some(format!("{name} records: {}", rules.fault(&records)?))
        });
        faults.flatten().next()
    }

    /// Writes every family; true for a good answer.
    pub fn write(&self, text: &mut Text, exchange: &Exchange, timeout_ms: u64) -> bool {
        let Exchange { resolve_s, connect_s, request_s, .. } = *exchange;
        let help = "Returns the time taken for probe dns lookup in seconds";
        one(text, "probe_dns_lookup_time_seconds", help, resolve_s);
        let help = "Returns how long the probe took to complete in seconds";
        one(text, "probe_duration_seconds", help, resolve_s + connect_s + request_s);
        address(text, exchange.server);
        let help = "Duration of DNS request by phase";
        text.family("probe_dns_duration_seconds", help, Sort::Gauge);
        for (phase, seconds) in
            [("resolve", resolve_s), ("connect", connect_s), ("request", request_s)]
        {
            text.sample(&[("phase", phase)], seconds);
        }
        let reply = exchange.reply.as_ref().ok();
        let count = |of: fn(&Message) -> usize| reply.map_or(0.0, |reply| of(reply) as f64);
        for (section, records) in [
            ("answer", count(|reply| reply.answers.len())),
            ("authority", count(|reply| reply.authorities.len())),
            ("additional", count(|reply| reply.additionals.len())),
        ] {
            let help = format!("Returns number of entries in the {section} resource record list");
            one(text, &format!("probe_dns_{section}_rrs"), &help, records);
        }
        let help = "Displays whether or not the query was executed successfully";
        one(text, "probe_dns_query_succeeded", help, f64::from(u8::from(reply.is_some())));
        let serial = |record: &Record| match &record.data {
            RData::SOA(soa) => Some(f64::from(soa.serial)),
            _ => None,
        };
        let serial = reply.and_then(|reply| reply.answers.iter().find_map(serial));
        if let Some(serial) = serial {
            one(text, "probe_dns_serial", "Returns the serial number of the zone", serial);
        }
        let success = reply.is_some_and(|reply| self.fault(reply).is_none());
        let help = "Displays whether or not the probe was a success";
        one(text, "probe_success", help, f64::from(u8::from(success)));
        let help = "Returns the probe timeout in seconds";
        one(text, "probe_timeout_seconds", help, timeout_ms as f64 / 1e3);
        success
    }
}

/// A record as in a zone file.
fn written(record: &Record) -> String {
    let Record { name, ttl, dns_class, data, .. } = record;
    format!("{name}\t{ttl}\t{dns_class}\t{}\t{data}", record.record_type())
}

impl Rules {
    fn read(value: &Value) -> Result<Rules, String> {
        let mut rules = Rules::default();
        for (key, value) in entries(value) {
            let patterns = match key.as_str() {
                "fail_if_matches_regexp" => &mut rules.none_may,
                "fail_if_all_match_regexp" => &mut rules.all_must,
                "fail_if_not_matches_regexp" => &mut rules.each_must,
                "fail_if_none_matches_regexp" => &mut rules.some_must,
                _ => return Err(format!("{key} is not known")),
            };
            let read = texts(value);
            *patterns = read.iter().map(|text| Pattern::new(text)).collect::<Result<_, _>>()?;
        }
        Ok(rules)
    }

    /// What the records do not hold. For each section as the exporter judges it, also where the
    /// name of a key says otherwise: with `fail_if_all_match_regexp` all must match there.
    fn fault(&self, records: &[String]) -> Option<String> {
        let demands = !self.each_must.is_empty() || !self.some_must.is_empty();
        if records.is_empty() && demands {
            return Some("there are none".to_owned());
        }
        let all = || records.iter();
        if let Some(pattern) = self.none_may.iter().find(|one| all().any(|text| one.fits(text))) {
            return Some(format!("one matches {pattern}"));
        }
        let mut all_must = self.each_must.iter().chain(&self.all_must);
        if let Some(pattern) = all_must.find(|one| !all().all(|text| one.fits(text))) {
            return Some(format!("one does not match {pattern}"));
        }
        let some = self.some_must.iter().any(|one| all().any(|text| one.fits(text)));
        (!self.some_must.is_empty() && !some).then(|| "none matches what one has to".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::A;
    use serde_json::json;

    fn dns(keys: &Value) -> Dns {
        let mut dns = Dns::default();
        for (key, value) in keys.as_object().unwrap() {
            assert_eq!(dns.set(key, value), Ok(true), "{key}");
        }
        dns
    }

    fn reply(dns: &Dns, addresses: &[&str]) -> Message {
        let query = Message::from_vec(&dns.encode(7).unwrap()).unwrap();
        let mut reply = Message::response(7, OpCode::Query);
        reply.add_query(query.queries[0].clone());
        for address in addresses {
            let name = Name::from_ascii("shop.example.").unwrap();
            reply.answers.push(Record::from_rdata(name, 60, RData::A(A(address.parse().unwrap()))));
        }
        reply
    }

    #[test]
    fn each_rule_judges_records_as_zone_files_have_them() {
        let matching = r"shop.example.\t60\tIN\tA\t192\.0\.2\..*";
        for (key, pattern, addresses, good) in [
            ("fail_if_matches_regexp", "192", &["192.0.2.1"][..], false),
            ("fail_if_matches_regexp", "10\\.", &["192.0.2.1"], true),
            ("fail_if_not_matches_regexp", matching, &["192.0.2.1", "192.0.2.2"], true),
            ("fail_if_not_matches_regexp", matching, &["192.0.2.1", "10.0.0.1"], false),
            ("fail_if_not_matches_regexp", matching, &[], false),
            ("fail_if_none_matches_regexp", matching, &["192.0.2.1", "10.0.0.1"], true),
            ("fail_if_none_matches_regexp", matching, &["10.0.0.1"], false),
            ("fail_if_all_match_regexp", matching, &["10.0.0.1"], false),
        ] {
            let rules = json!({ key: [pattern] });
            let dns = dns(&json!({ "query_name": "shop.example", "validate_answer_rrs": rules }));
            let fault = dns.fault(&reply(&dns, addresses));
            assert_eq!(fault.is_none(), good, "{key} {addresses:?}: {fault:?}");
        }
    }

    #[test]
    fn only_the_answer_to_the_own_query_is_read() {
        let asked = dns(&json!({ "query_name": "shop.example", "query_type": "A" }));
        let bytes = reply(&asked, &["192.0.2.1"]).to_vec().unwrap();
        assert_eq!(asked.read(7, &bytes).unwrap().answers.len(), 1);
        assert!(asked.read(8, &bytes).is_none());
        assert!(asked.read(7, &bytes[..20]).is_none());
        let other = dns(&json!({ "query_name": "other.example", "query_type": "A" }));
        assert!(other.read(7, &bytes).is_none());
    }

    #[test]
    fn a_code_is_good_where_it_is_named() {
        let strict = dns(&json!({ "query_name": "a.example" }));
        let mut reply = reply(&strict, &[]);
        reply.metadata.response_code = ResponseCode::NXDomain;
        assert!(strict.fault(&reply).unwrap().contains("Non-Existent Domain"));
        let wanted = dns(&json!({ "query_name": "a.example", "valid_rcodes": ["NXDOMAIN"] }));
        assert_eq!(wanted.fault(&reply), None);
    }

    #[test]
    fn what_cannot_be_kept_is_told() {
        let told = |key: &str, value: Value| Dns::default().set(key, &value);
        assert_eq!(told("query_type", json!("QQ")), Err("\"QQ\" is no type of record".into()));
        assert_eq!(told("valid_rcodes", json!(["OK"])), Err("\"OK\" is no code".into()));
        assert_eq!(told("source_ip_address", json!("192.0.2.1")), Ok(false));
        assert!(told("validate_answer_rrs", json!({ "fail_if": ["("] })).is_err());
        assert!(Dns::default().missing().is_some());
    }
}
