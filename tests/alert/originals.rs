//! The original's tables and variables: what a receiver of its alerts gets from the engine.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cluster::Cluster;
use engine::alert::channel::Maker;
use engine::alert::http::Roots;
use engine::alert::outbox::Outbox;
use engine::alert::{Alerts, Setup};
use engine::boot::standing::Standing;
use engine::config::database::{Database, Secret};
use engine::control::directory::StoreDirectory;
use engine::env::Env;
use engine::env::alerting::Alerting;
use engine::env::original::TimeSeries;
use engine::feed::slices::{ALL, Ours};
use engine::ids::MonitorId;
use engine::metrics::streaks::Streaks;
use engine::pg::PgOptions;
use engine::store::{PgServer, PgStore, Retention};
use url::form_urlencoded;

use crate::bench::{down, eventually, up};
use crate::post::Post;
use crate::recorder::{Recorder, Request};
use crate::secure;

/// A database with the original's tables and rows.
fn database(hook: &Recorder) -> String {
    let cluster = Cluster::shared();
    let name = cluster.new_database();
    let url = cluster.url(&name);
    let options = options(&url);
    let schema = "glx_monitor_v2".to_owned();
    let series = TimeSeries { enabled: false, schema, checks: false, metrics: false };
    drop(PgStore::open(&options, &series, Retention::default()).unwrap());
    let url_of_hook = hook.url("/hook");
    cluster.psql(
        &name,
        &format!(
            "INSERT INTO users (id, email, username) VALUES (3, 'owner@example.com', 'o');
             INSERT INTO monitor_settings (user_id, alert_time_ranges, timezone)
                 VALUES (3, '00:00-23:59', 0);
             INSERT INTO monitor_settings (user_id, global_stop_alert_to)
                 VALUES (4, now() AT TIME ZONE 'UTC' + interval '1 hour');
             INSERT INTO monitor_items (id, name, enable, url_check, type, user_id,
                     check_interval_seconds, allow_alert_for_consecutive_error) VALUES
                 (20, 'shop <b>', 1, 'https://shop.example/', 'ping_web', 3, 12, 1),
                 (21, 'plain', 1, 'https://plain.example/', 'ping_web', NULL, 60, NULL),
                 (22, 'silent', 1, 'https://silent.example/', 'ping_web', 4, 60, NULL);
             INSERT INTO monitor_configs (id, name, alert_type, alert_config) VALUES
                 (1, 'Hook A', 'webhook', '{url_of_hook}'),
                 (2, 'Bot', 'telegram', '-100,7:OWN'),
                 (3, 'Gone', 'webhook', '{url_of_hook}');
             UPDATE monitor_configs SET deleted_at = now() WHERE id = 3;
             INSERT INTO monitor_and_configs (monitor_item_id, config_id)
                 VALUES (20, 1), (20, 2), (20, 3), (22, 1);"
        ),
    );
    url
}

fn options(url: &str) -> PgOptions {
    PgOptions::of(&Database::PostgresUrl(Secret::new(url))).unwrap().unwrap()
}

/// Alerting as a start with these variables has it.
fn start(
    folder: &Path,
    url: &str,
    variables: &[(&str, &str)],
    authority: &Path,
    ours: Ours,
) -> Alerts {
    let os = |text: &str| OsString::from(text);
    let process = variables.iter().map(|(name, value)| (os(name), os(value)));
    let env = Env::read(process, folder, false).unwrap();
    let mut notes = Vec::new();
    let original = Alerting::read(&env, &mut notes);
    assert_eq!(notes, Vec::<String>::new());
    let roots = Roots::load(Some(authority)).unwrap();
    let domain = original.domain.clone();
    let maker = Maker { env: &|_| None, roots: roots.clone(), domain: domain.clone() };
    let channels = original.channels.iter().map(|spec| maker.make(spec).unwrap()).collect();
    let readers = Arc::new(PgServer(options(url)));
    let directory = StoreDirectory::new(readers, original, Streaks::default(), Standing::default());
    let directory = directory.only(ours);
    let setup = Setup { hold_ms: 0, retry_ms: 20, ..Setup::of(channels, roots, domain) };
    Alerts::start(folder, setup, Box::new(directory)).unwrap()
}

fn form(request: &Request) -> Vec<(String, String)> {
    form_urlencoded::parse(request.body.as_bytes()).into_owned().collect()
}

#[test]
fn webhook_bot_and_mail_say_what_the_originals_said() {
    let place = tempfile::tempdir().unwrap();
    let (tls, authority) = secure::server(place.path());
    let hook = Recorder::start();
    let bots = Recorder::serving(Some(Arc::clone(&tls)), |_, _| {
        (200, String::new(), "{\"ok\":true}".to_owned())
    });
    let post = Post::start(tls);
    let url = database(&hook);
    let (api, port) = (bots.url("").replace("http:", "https:"), post.address.port().to_string());
    let variables = [
        ("TELEGRAM_BOT_TOKEN", "9:GLOBAL"),
        ("TELEGRAM_CHAT_ID", "-5"),
        ("TELEGRAM_API_URL", api.as_str()),
        ("ADMIN_DOMAIN", "mon.example"),
        ("SMTP_ENABLED", "true"),
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", port.as_str()),
        ("SMTP_ACCOUNT_1_EMAIL", "robot@example.com"),
        ("SMTP_ACCOUNT_1_PASSWORD", "p4ss"),
    ];
    let ours = Ours::default();
    ours.set(ALL);
    let alerts = start(place.path(), &url, &variables, &authority, ours);
    let mut change = down(20, 1_000);
    change.message = "HTTP 500 - Internal Server Error (after 3 retries)".into();
    alerts.teller().changes(vec![change, down(21, 1_000), down(22, 1_000)]);
    eventually("webhook", || (hook.requests().len() == 1).then_some(()));
    eventually("both bots", || (bots.requests().len() == 2).then_some(()));
    eventually("mail", || (post.mails().len() == 1).then_some(()));
    alerts.teller().changes(vec![up(20, 61_000), up(21, 61_000), up(22, 61_000)]);
    eventually("webhook's end", || (hook.requests().len() == 2).then_some(()));
    eventually("both bots' end", || (bots.requests().len() == 4).then_some(()));
    eventually("mail's end", || (post.mails().len() == 2).then_some(()));
    alerts.stop();

    let requests = hook.requests();
    assert_eq!(requests[0].header("user-agent"), Some("MonitorService-AsyncIO/2025"));
    let body = requests[0].json();
    assert_eq!(body["service"]["monitor_id"], 20);
    assert_eq!(body["service"]["url"], "https://shop.example/");
    assert_eq!(body["error"]["check_interval_seconds"], 12);
    assert_eq!(body["metadata"]["webhook_name"], "Hook A");
    assert_eq!(requests[1].json()["recovery"]["response_time_ms"], 1.54);

    let mut told: Vec<(String, String)> = bots
        .requests()
        .iter()
        .map(|request| {
            let fields = form(request);
            let of = |name: &str| fields.iter().find(|(key, _)| key == name).unwrap().1.clone();
            assert_eq!(of("parse_mode"), "HTML");
            assert_eq!(of("disable_web_page_preview"), "True");
            let first = of("text").lines().next().unwrap().to_owned();
            (format!("{} {}", request.path, of("chat_id")), first)
        })
        .collect();
    told.sort();
    let line = |bot: &str, text: &str| (bot.to_owned(), text.to_owned());
    assert_eq!(
        told,
        [
            line("/bot7:OWN/sendMessage -100", "✅ <b>SERVICE OK: shop &lt;b&gt; </b>"),
            line("/bot7:OWN/sendMessage -100", "❌ <b>ALERT: shop &lt;b&gt;</b>"),
            line("/bot9:GLOBAL/sendMessage -5", "✅ <b>SERVICE OK: plain </b>"),
            line("/bot9:GLOBAL/sendMessage -5", "❌ <b>ALERT: plain</b>"),
        ]
    );

    let mail = &post.mails()[0];
    assert_eq!(mail.login, "robot@example.com p4ss");
    assert_eq!(mail.to, ["owner@example.com"]);
    assert!(mail.text.contains("multipart/alternative"), "{}", mail.text);
    assert!(mail.text.contains("Reply-To: robot@example.com"), "{}", mail.text);

    // The planted secrets are where they belong and nowhere else.
    let lines = Outbox::look(place.path()).unwrap().unwrap().lines(100).unwrap();
    assert_eq!(lines.len(), 8, "{lines:?}");
    let shown = serde_json::to_string(&lines).unwrap();
    for secret in ["7:OWN", "9:GLOBAL", "p4ss", "/hook"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn after_a_kill_between_record_and_tell_an_engine_of_a_part_tells_of_its_own_rows_alone() {
    let place = tempfile::tempdir().unwrap();
    let (_, authority) = secure::server(place.path());
    let hook = Recorder::start();
    let url = database(&hook);
    let name = url.rsplit_once('/').unwrap().1.to_owned();
    let cluster = Cluster::shared();
    cluster
        .psql(&name, "INSERT INTO monitor_and_configs (monitor_item_id, config_id) VALUES (21, 1)");
    let variables = [("WEBHOOK_ENABLED", "true")];
    let begin = |ours: &Ours| start(place.path(), &url, &variables, &authority, ours.clone());
    let ours = Ours::default();
    ours.set(ALL);
    begin(&ours).stop();
    // Recorded, and the engine was killed before it told anybody.
    cluster.psql(
        &name,
        "INSERT INTO engine.transition
             (monitor_id, at_ms, from_verdict, to_verdict, code, message, marks)
         VALUES (21, 1000, 1, 2, 12, 'timeout', 0), (20, 1000, 1, 2, 12, 'timeout', 0)",
    );
    // Before it is known which rows are ours nothing is read and nothing is lost.
    begin(&Ours::default()).stop();
    assert_eq!(hook.requests().len(), 0);
    ours.set(MonitorId(1)..=MonitorId(20));
    let alerts = begin(&ours);
    eventually("ours", || (!hook.requests().is_empty()).then_some(()));
    alerts.stop();
    begin(&ours).stop();
    let told: Vec<_> =
        hook.requests().iter().map(|r| r.json()["service"]["monitor_id"].clone()).collect();
    assert_eq!(told, [20]);
}

#[test]
fn a_channel_of_the_tables_is_tried_by_its_number() {
    let (place, hook) = (tempfile::tempdir().unwrap(), Recorder::start());
    let url = database(&hook);
    let test = |channel: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
        command.args(["alert", "test", channel]).current_dir(place.path());
        let said = command.env("DATABASE_URL", &url).output().unwrap();
        (said.status.code(), String::from_utf8(said.stdout).unwrap())
    };
    let (code, text) = test("webhook:1");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("webhook:1: delivered in "), "{text}");
    assert_eq!(hook.requests()[0].json()["metadata"]["webhook_name"], "Hook A");
    assert_eq!(test("webhook:3").0, Some(1)); // It is deleted.
    assert_eq!(hook.requests().len(), 1);
}
