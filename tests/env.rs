//! Variables, `.env` files and flags: which goes before which, and what each name changes.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use engine::cli::args::{Args, Command, StartArgs};
use engine::cli::settle::{Chunk, Layers, Settled};
use engine::config::database::Database;
use engine::config::{Loaded, Settings};
use engine::env::Env;
use engine::env::original::{Original, RowDefaults};
use engine::monitor::row::Interner;

fn env_of(variables: &[(&str, &str)]) -> Env {
    let folder = tempfile::tempdir().unwrap();
    read(variables, folder.path(), false)
}

fn read(variables: &[(&str, &str)], folder: &Path, test: bool) -> Env {
    let os = |text: &str| OsString::from(text);
    let process = variables.iter().map(|(name, value)| (os(name), os(value)));
    Env::read(process, folder, test).unwrap()
}

fn original(variables: &[(&str, &str)]) -> Original {
    Original::read(&env_of(variables), 8).unwrap()
}

fn start_args(line: &[&str]) -> StartArgs {
    let words = [&["engine", "start"], line].concat();
    match Args::read(words.into_iter().map(OsString::from)).unwrap().command {
        Command::Start(start) => start,
        other => panic!("{other:?}"),
    }
}

fn settle(line: &[&str], variables: &[(&str, &str)], file: &Settings) -> Settled {
    Layers::of(&start_args(line), env_of(variables), 8).unwrap().settle(file).unwrap()
}

fn from(settled: &Settled, setting: &str) -> String {
    settled.rows.iter().find(|row| row.setting == setting).unwrap().from.to_string()
}

#[test]
fn the_nearest_env_file_upwards_is_read_and_never_overrides_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("a/b");
    fs::create_dir_all(&below).unwrap();
    fs::write(folder.path().join(".env"), "A=far\nB=${A}-${REAL}\nREAL=file\n").unwrap();
    let env = read(&[("REAL", "process")], &below, false);
    assert_eq!(env.value("A"), Some("far"));
    assert_eq!(env.value("B"), Some("far-process"));
    assert_eq!(env.value("REAL"), Some("process"));
    fs::write(folder.path().join("a/.env"), "A=near\n").unwrap();
    let env = read(&[], &below, false);
    assert_eq!((env.value("A"), env.value("B")), (Some("near"), None));
}

#[test]
fn the_test_file_of_the_current_folder_overrides_all_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("a");
    fs::create_dir(&below).unwrap();
    fs::write(folder.path().join(".env"), "A=env\nB=env\n").unwrap();
    fs::write(folder.path().join(".env.test"), "A=above\n").unwrap();
    fs::write(below.join(".env.test"), "A=${A}-test\nC=${A}\nREAL=test\n").unwrap();
    let plain = read(&[("REAL", "process")], &below, false);
    assert_eq!((plain.value("A"), plain.value("REAL")), (Some("env"), Some("process")));
    let test = read(&[("REAL", "process")], &below, true);
    assert_eq!(test.value("A"), Some("env-test"));
    assert_eq!(test.value("B"), Some("env"));
    assert_eq!(test.value("C"), Some("env-test"));
    assert_eq!(test.value("REAL"), Some("test"));
}

#[test]
fn a_bad_line_is_named_with_its_file_and_a_file_that_is_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    fs::write(&path, "A=1\n= 2\n").unwrap();
    let env = read(&[], folder.path(), false);
    assert_eq!(env.notes, [format!("{}:2: is not NAME=value", path.display())]);
    fs::write(&path, "#".repeat(1 << 21)).unwrap();
    let error = Env::read([], folder.path(), false).unwrap_err().to_string();
    assert!(error.contains("larger than 1 MiB"), "{error}");
}

#[test]
fn the_database_is_named_by_type_and_parts() {
    let parts = &[("DB_TYPE", "PostgreSQL"), ("POSTGRES_HOST", "db"), ("POSTGRES_PASSWORD", " p ")];
    let Some(Database::Postgres { host, port, name, user, password }) = original(parts).database
    else {
        panic!("not PostgreSQL")
    };
    assert_eq!(
        (host.as_str(), port, name.as_str(), user.as_str()),
        ("db", 5432, "monitor_v2", "postgres")
    );
    assert_eq!(password.reveal(), " p ");
    let legacy = original(&[("DB_TYPE", "legacy"), ("DB_HOST", "old"), ("POSTGRES_HOST", "new")]);
    assert!(legacy.database.unwrap().to_string().contains("@old:5432/"));
    let url = original(&[("DATABASE_URL", "postgres://u:p@h/d"), ("DB_TYPE", "postgresql")]);
    assert_eq!(url.database.unwrap().to_string(), "postgres://u:***@h/d");
    assert_eq!(original(&[("DB_TYPE", "sqlite")]).database, Some(Database::Sqlite));
    assert_eq!(original(&[]).database, None);
    for bad in [("DB_TYPE", "mysql"), ("DATABASE_URL", "mysql://h/d")] {
        let error = Original::read(&env_of(&[bad]), 8).unwrap_err();
        assert!(error.starts_with(bad.0) && error.contains("MySQL is not supported"), "{error}");
    }
    let error = Original::read(&env_of(&[("POSTGRES_PORT", "x")]), 8).unwrap_err();
    assert_eq!(error, "POSTGRES_PORT=x: write a port from 1 to 65535");
}

#[test]
fn truth_and_numbers_follow_the_rules_of_the_original() {
    let enabled = |text| original(&[("TIMESCALEDB_ENABLED", text)]).time_series.enabled;
    for text in ["true", "1", "YES", "On", " true "] {
        assert!(enabled(text), "{text}");
    }
    for text in ["false", "0", "no", "off", "maybe", ""] {
        assert!(!enabled(text), "{text}");
    }
    let bad = original(&[("TIMESCALEDB_LOG_CHECKS", "maybe"), ("ASYNC_HTTP_TIMEOUT", "soon")]);
    assert!(bad.time_series.checks);
    assert_eq!(bad.row_defaults, RowDefaults::default());
    assert_eq!(
        bad.notes,
        [
            "ASYNC_HTTP_TIMEOUT=soon: is not a whole number from 1 to 300; the default is taken",
            "TIMESCALEDB_LOG_CHECKS=maybe: is not true or false; taken as true",
        ]
    );
}

#[test]
fn names_without_effect_are_named_once_and_foreign_ones_not_at_all() {
    let variables = &[("ASYNC_POOL_SIZE", "200"), ("TELEGRAM_ENABLED", "s3cret"), ("PATH", "x")];
    let settled = settle(&[], variables, &Settings::default());
    assert_eq!(
        settled.notes,
        ["these variables are set and have no effect: ASYNC_POOL_SIZE, TELEGRAM_ENABLED"]
    );
}

#[test]
fn threads_become_shards_as_far_as_there_are_cpus() {
    let many = &[("ASYNC_THREAD_COUNT", "12"), ("ASYNC_MAX_CONCURRENT", "2000")];
    let settled = settle(&[], many, &Settings::default());
    assert_eq!((settled.cores, settled.max_in_flight), (Some(8), 3_000));
    assert_eq!(from(&settled, "cores"), "ASYNC_THREAD_COUNT in the environment");
    assert!(settled.notes[0].contains("may use 8 CPUs"), "{:?}", settled.notes);
    let single = &[("ASYNC_MULTI_THREAD", "no"), ("ASYNC_THREAD_COUNT", "4")];
    assert_eq!(settle(&[], single, &Settings::default()).cores, Some(1));
    let only = settle(&[], &[("ASYNC_MAX_CONCURRENT", "500")], &Settings::default());
    assert_eq!((only.cores, only.max_in_flight), (None, 250));
}

#[test]
fn flag_environment_env_file_file_and_default_go_in_this_order() {
    let mut file = Settings { cores: Some(3), ..Settings::default() };
    file.retention_days = Some(30);
    let both = &[("ENGINE_CORES", "2"), ("ASYNC_THREAD_COUNT", "5")];
    let settled = settle(&["--cores", "1"], both, &file);
    assert_eq!((settled.cores, from(&settled, "cores")), (Some(1), "--cores".into()));
    let settled = settle(&[], both, &file);
    assert_eq!(settled.cores, Some(2));
    assert_eq!(from(&settled, "cores"), "ENGINE_CORES in the environment");
    let settled = settle(&[], &[], &file);
    assert_eq!((settled.cores, from(&settled, "cores")), (Some(3), "the file of monitors".into()));
    assert_eq!(settled.retention_days, Some(30));
    assert_eq!(from(&settled, "log_format"), "default");

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".env"), "ENGINE_CORES=4\n").unwrap();
    let args = start_args(&[]);
    let settled = |env| Layers::of(&args, env, 8).unwrap().settle(&file).unwrap();
    let of_file = settled(read(&[], folder.path(), false));
    assert_eq!(of_file.cores, Some(4));
    assert!(from(&of_file, "cores").starts_with("ENGINE_CORES in "));
    assert!(from(&of_file, "cores").ends_with(".env"));
    assert_eq!(settled(read(&[("ENGINE_CORES", "6")], folder.path(), false)).cores, Some(6));
}

#[test]
fn the_port_of_the_original_grows_with_the_chunk_and_the_folder_is_its_own() {
    let listen = |line: &[&str], variables: &[(&str, &str)]| {
        settle(line, variables, &Settings::default()).listen.to_string()
    };
    assert_eq!(listen(&[], &[]), "127.0.0.1:8787");
    assert_eq!(listen(&[], &[("DB_TYPE", "sqlite")]), "127.0.0.1:5005");
    assert_eq!(listen(&["--chunk=3-100"], &[("HTTP_PORT", "6000")]), "127.0.0.1:6002");
    assert_eq!(listen(&[], &[("HTTP_HOST", "0.0.0.0")]), "0.0.0.0:5005");
    assert_eq!(listen(&["--chunk=3-100", "--listen=127.0.0.1:9"], &[]), "127.0.0.1:9");
    let line = ["--chunk=3-100", "--data-dir", "d", "--limit=x"];
    let settled = settle(&line, &[], &Settings::default());
    assert_eq!(settled.data_dir, Path::new("d/chunk-3"));
    assert_eq!(settled.lock_file(), Path::new("d/monitor_service_chunk_3.lock"));
    assert_eq!(settled.notes, ["--limit=x: write a number from 1, such as --limit=1000"]);
    let layers = |variables| Layers::of(&start_args(&[]), env_of(variables), 8).is_err();
    assert!(layers(&[("HTTP_PORT", "0")]) && layers(&[("HTTP_HOST", "no.example")]));
    let far = start_args(&["--chunk=2-1"]);
    let layers = Layers::of(&far, env_of(&[("HTTP_PORT", "65535")]), 8).unwrap();
    assert!(layers.settle(&Settings::default()).unwrap_err().text.contains("there is no port"));
}

#[test]
fn malformed_limit_and_chunk_are_told_and_ignored() {
    for bad in ["--chunk=", "--chunk=2", "--chunk=0-5", "--chunk=2-0", "--chunk=a-b", "--limit=-1"]
    {
        let settled = settle(&[bad], &[], &Settings::default());
        assert_eq!(settled.notes.len(), 1, "{bad}");
        assert!(settled.notes[0].starts_with(bad), "{:?}", settled.notes);
        assert_eq!((settled.selection.limit, settled.selection.chunk), (None, None));
    }
}

#[test]
fn limit_and_chunk_choose_by_place_and_disabled_monitors_keep_theirs() {
    let text =
        "monitors: [{type: ping_icmp, target: a, paused: true}, {type: ping_icmp, target: b},
        {type: ping_icmp, target: c}, {type: ping_icmp, target: d}, {type: ping_icmp, target: e}]";
    let names = |line: &[&str]| {
        let mut loaded = Loaded::parse("m".into(), text, &mut Interner::default()).unwrap();
        let settled = settle(line, &[], &Settings::default());
        settled.choose(&mut loaded, &mut Interner::default());
        let names = loaded.monitors.iter().filter_map(|entry| entry.row().name);
        names.collect::<String>()
    };
    assert_eq!(names(&["--chunk=1-2"]), "ab");
    assert_eq!(names(&["--chunk=2-2"]), "cd");
    assert_eq!(names(&["--chunk=3-2"]), "e");
    assert_eq!(names(&["--chunk=4-2"]), "");
    assert_eq!(names(&["--limit=3", "--chunk=2-2"]), "c");
    let settled = settle(&["--chunk=2-300"], &[], &Settings::default());
    assert_eq!(settled.selection.chunk, Some(Chunk { number: 2, size: 300 }));
}

#[test]
fn rows_of_the_original_take_its_defaults_and_no_other_rows_do() {
    let text = "monitors:
- {type: ping_web, target: 'http://a', preset: original, interval: 0}
- {type: ping_web, target: 'http://b', preset: original, timeout: 3s, interval: 10}
- {type: ping_web, target: 'http://c'}
- {type: tcp, target: 'd:1', preset: original}
- {type: ping_web, target: 'http://e', preset: original, interval: 0, retries: 99}
";
    let variables = &[("ASYNC_HTTP_TIMEOUT", "7"), ("ASYNC_CHECK_INTERVAL", "20")];
    let mut loaded = Loaded::parse("m".into(), text, &mut Interner::default()).unwrap();
    let settled = settle(&[], variables, &Settings::default());
    settled.choose(&mut loaded, &mut Interner::default());
    let timing = |at: usize| {
        let timing = loaded.monitors[at].checked.as_ref().unwrap().timing;
        (timing.interval_ms, timing.timeout_ms)
    };
    assert_eq!(timing(0), (20_000, 7_000));
    assert_eq!(timing(1), (10_000, 3_000));
    assert_eq!(timing(2), (60_000, 10_000));
    assert_eq!(timing(3), (360_000, 10_000));
    assert!(loaded.monitors[4].checked.is_err());
}

#[test]
fn no_secret_is_among_the_settings_that_are_shown() {
    let variables = &[
        ("WEB_ADMIN_PASSWORD", "s3cret-1"),
        ("POSTGRES_PASSWORD", "s3cret-2"),
        ("DB_TYPE", "postgresql"),
    ];
    let settled = settle(&[], variables, &Settings::default());
    let shown = format!("{settled:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert_eq!(settled.password.as_ref().unwrap().reveal(), "s3cret-1");
    let row = settled.rows.iter().find(|row| row.setting == "admin_password").unwrap();
    assert_eq!(row.value, "***");
}
