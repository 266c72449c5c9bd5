//! The metrics page as numbers, and the law that it must keep.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One scrape.
#[derive(Debug)]
pub struct Page {
    pub text: String,
    /// Lines by name with labels, as written.
    values: BTreeMap<String, f64>,
}

impl Page {
    /// Asks for the page.
    pub fn scrape(address: SocketAddr) -> Page {
        let answer = get_as(address, "/metrics", "application/openmetrics-text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("openmetrics-text"), "{head}");
        let body = &unchunked(body);
        assert!(body.ends_with("# EOF\n"), "{body}");
        let lines = body.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        });
        Page { values: pairs.collect(), text: body.to_owned() }
    }

    /// The sum of all values of `name` whose labels contain `label`; an empty one fits all.
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let of_name = |line: &str| {
            line.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        let fits = |(line, _): &(&String, &f64)| of_name(line) && line.contains(label);
        self.values.iter().filter(fits).map(|(_, value)| value).sum()
    }

    /// The shards on the page, as labels.
    pub fn shards(&self) -> BTreeSet<String> {
        let lines = self.values.keys().filter(|line| line.starts_with("engine_checks_due_total{"));
        lines
            .map(|line| {
                line.trim_start_matches("engine_checks_due_total{").trim_end_matches('}').to_owned()
            })
            .collect()
    }

    /// Asserts for every shard that each due check is accounted for.
    pub fn assert_balanced(&self) {
        let shards = self.shards();
        assert!(!shards.is_empty(), "{}", self.text);
        for shard in shards {
            let of = |name: &str| self.sum(name, &shard);
            let due = of("engine_checks_due_total");
            let started = of("engine_checks_started_total");
            let missed = of("engine_checks_missed_total");
            let paused = of("engine_checks_paused_total");
            assert_eq!(due, started + missed + paused, "{shard}\n{}", self.text);
            let finished = of("engine_checks_up_total")
                + of("engine_checks_down_total")
                + of("engine_checks_unknown_total");
            assert_eq!(started, finished + of("engine_checks_open"), "{shard}\n{}", self.text);
            let lag = of("engine_schedule_lateness_seconds_count");
            assert_eq!(lag, started, "every start has its lag: {shard}\n{}", self.text);
        }
        let by_result = self.sum("engine_checks_total", "");
        let by_shard = ["up", "down", "unknown"]
            .map(|verdict| self.sum(&format!("engine_checks_{verdict}_total"), ""));
        assert_eq!(by_result, by_shard.iter().sum::<f64>(), "{}", self.text);
    }
}

/// The whole answer to a GET.
pub fn get(address: SocketAddr, path: &str) -> String {
    get_as(address, path, "*/*")
}

/// The whole answer to a GET that accepts this media type.
pub fn get_as(address: SocketAddr, path: &str, accept: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the page is served");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a timeout");
    let head = format!("GET {path} HTTP/1.1\r\nHost: engine\r\nAccept: {accept}\r\n");
    write!(stream, "{head}Connection: close\r\n\r\n").expect("the request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer comes to its end");
    answer
}

/// A body without the sizes of its chunks (RFC 9112 section 7.1).
pub fn unchunked(body: &str) -> String {
    let (mut out, mut rest) = (String::new(), body);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no chunk: {rest}"));
        out.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    out
}
