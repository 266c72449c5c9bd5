//! Planted secrets: every channel fails in every way it can, and none of them gets out.

use std::io::Write;
use std::sync::{Arc, Mutex};

use engine::alert::channel::{Channel, Maker};
use engine::alert::http::Roots;
use engine::alert::{Change, Facts, Person};
use engine::config::channels::ChannelSpec;
use engine::metrics::page::Counts;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::bench::{Memory, down, eventually, named, start};
use crate::firebase;
use crate::recorder::Recorder;

/// What all secrets of this test contain.
const CANARY: &str = "CANARY";

/// Log lines in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

/// A channel whose secrets come from variables.
fn channel(name: String, mut value: Value, server: &str) -> Channel {
    value["name"] = json!(name);
    let spec = ChannelSpec::read(value.as_object().unwrap()).unwrap();
    let server = server.to_owned();
    let env = move |name: &str| {
        Some(match name {
            "URL" => format!("{server}/{CANARY}"),
            _ => format!("1:{CANARY}"),
        })
    };
    Maker { env: &env, roots: Roots::default(), domain: None }.make(&spec).unwrap()
}

#[test]
fn a_secret_shows_in_no_log_line_no_number_and_no_row_of_the_outbox() {
    let log = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_max_level(tracing::Level::TRACE)
        .finish();
    // Of the whole process: senders have threads of their own.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let place = tempfile::tempdir().unwrap();
    // It repeats whatever it was asked, as a careless receiver would.
    let careless = Recorder::answering(|request, number| {
        if request.path == "/token" {
            return (200, String::new(), format!("{{\"access_token\":\"{CANARY}\"}}"));
        }
        let said = format!("{{\"ok\":false,\"description\":\"no {}\"}}", request.path);
        ([500, 404, 400, 302][number % 4], String::new(), said)
    });
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = [careless.url(""), format!("http://{closed}"), "https://127.0.0.1:1".to_owned()];
    let key = firebase::key(place.path());
    let account = firebase::account(place.path(), &key, &careless.url("/token"));
    let mut channels = Vec::new();
    for (number, server) in servers.iter().enumerate() {
        for value in [
            json!({"type": "firebase", "account": account, "api": server}),
            json!({"type": "alertmanager", "urls": [format!("{server}/{CANARY}")]}),
            json!({"type": "command", "run": ["sh", "-c", "echo $ENGINE_TITLE; exit 1", CANARY]}),
            json!({"type": "webhook", "url": "env:URL", "headers": {"X-Key": "env:KEY"}}),
            json!({"type": "telegram", "token": "env:KEY", "chat": "-1", "api": server}),
            json!({"type": "slack", "url": "env:URL"}),
            json!({"type": "discord", "url": "env:URL"}),
            json!({"type": "teams", "url": "env:URL"}),
            json!({"type": "pagerduty", "key": "env:KEY", "api": server}),
            json!({"type": "opsgenie", "key": "env:KEY", "api": server}),
            json!({"type": "ntfy", "url": format!("{server}/t"), "token": "env:KEY"}),
            json!({"type": "email", "host": "127.0.0.1", "port": closed.port(), "user": "a@b.c",
                   "password": "env:KEY", "to": "d@e.f"}),
        ] {
            let name = format!("{}-{number}", value["type"].as_str().unwrap());
            channels.push(channel(name, value, server));
        }
    }
    let (count, memory) = (channels.len() as u64, Memory::of(1));
    let person = Person { firebase_token: Some("phone".into()), ..Person::default() };
    memory.know(1, Facts { person: Some(person), ..named(1) });
    let alerts = start(place.path(), channels, &memory);
    let changes: Vec<Change> = vec![down(1, 1_000)];
    alerts.teller().changes(changes);
    let mut counts = Counts::default();
    eventually("every channel has failed twice or for good", || {
        counts = Counts::default();
        alerts.counters().add_to(&mut counts, 0);
        let of = |name: &str| counts.counters.iter().find(|one| one.0 == name).unwrap().2;
        let failed = of("engine_alert_deliveries_failed");
        (failed + 2 * of("engine_alert_notices_refused") >= 2 * count).then_some(())
    });
    alerts.stop();
    let mut seen = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(seen.contains("notices are not taken") || seen.contains("refused"), "{seen}");
    seen += &format!("{counts:?}");
    for file in ["alerts.db", "alerts.db-wal"] {
        let bytes = std::fs::read(place.path().join(file)).unwrap_or_default();
        seen += &String::from_utf8_lossy(&bytes);
    }
    assert!(seen.contains("HTTP 500"), "the outbox was not read");
    // The description of Telegram repeats its path, which has the token.
    assert!(careless.requests().iter().any(|request| request.path.contains(CANARY)));
    let place = seen.find(CANARY).map(|at| seen[at.saturating_sub(200)..at + 50].to_owned());
    assert_eq!(place, None);
}
