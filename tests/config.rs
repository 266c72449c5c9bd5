//! The file of monitors: what is read, and how exactly it says what is wrong.

use std::fmt::Write;
use std::io::Write as _;

use engine::config::{FileError, Loaded};
use engine::monitor::Kind;
use engine::monitor::row::{Interner, MonitorRow};
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../examples/monitors.yaml");

fn parse(text: &str) -> Result<Loaded, FileError> {
    Loaded::parse("m.yaml".into(), text, &mut Interner::default())
}

/// Every problem of a file, one a line.
fn problems(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(loaded) => loaded.problems().iter().map(ToString::to_string).collect(),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn the_example_is_good_and_shows_every_key_and_type() {
    let loaded = parse(EXAMPLE).unwrap();
    assert_eq!(problems(EXAMPLE), Vec::<String>::new());
    let rows: Vec<MonitorRow> = loaded.monitors.iter().map(|entry| entry.row()).collect();
    let mut given: Vec<&str> = rows.iter().flat_map(|row| row.given()).collect();
    given.sort_unstable();
    given.dedup();
    let mut keys = MonitorRow::KEYS.to_vec();
    keys.sort_unstable();
    assert_eq!(given, keys);
    for kind in Kind::ALL {
        assert!(EXAMPLE.contains(kind.name()), "{}", kind.name());
    }
    assert_eq!(loaded.settings.cores, Some(2));
    assert_eq!(loaded.status_pages[0].tags, ["shop", "europe"]);
    let line = 1 + EXAMPLE.lines().position(|line| line.contains("- name: router")).unwrap();
    assert_eq!(loaded.monitors[6].line as usize, line);
}

#[test]
fn a_wrong_status_page_refuses_the_file_and_says_where() {
    let text = "\
monitors: []
status_pages:
  - slug: shop
    tags: [shop]
  - slug: shop
    monitors: [a]
  - slug: Shop
    colour: red
  - slug: other
";
    let wanted = [
        "m.yaml:5:11: slug: shop is the slug of another page too; write another one",
        "m.yaml:8:5: unknown key `colour`",
        "m.yaml:9:5: status_pages: other shows nobody; write `tags`, `monitors` or both",
    ];
    let found = problems(text);
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found}");
    }
}

#[test]
fn every_problem_is_named_by_line_and_column() {
    let text = "\
monitors:
  - name: a
    type: tcp
    target: h
    intervall: 5s
    retries: many
  - name: b
    type: ping_web
    target: http://h
    interval: 500ms
    statuses:
      - 200
      - abc
  - name: b
    type: ping_icmp
    target: h
    fall: 1
    fall: 2
  - just text
  - type: ping_icmp
";
    assert_eq!(
        problems(text),
        [
            "m.yaml:5:5: unknown key `intervall`; did you mean `interval`?",
            "m.yaml:6:14: retries: many is not a whole number; write a whole number",
            "m.yaml:4:13: target: h names no port; write host:port, such as example.com:443",
            "m.yaml:10:15: interval: 500ms is shorter than 1s; write 1s or more",
            "m.yaml:12:7: statuses: abc is no status; write 200, 200-299 or 2xx",
            "m.yaml:18:5: fall: is there twice; keep one",
            "m.yaml:14:11: name: b is the name of the monitor in line 7 too; write another name",
            "m.yaml:19:5: monitors: not a map; write keys with their values",
            "m.yaml:20:5: target: is missing; write what to check: a URL, host:port or host",
        ]
    );
}

#[test]
fn a_bad_monitor_does_not_stop_the_good_ones() {
    let text = "monitors: [{type: tcp, target: h}, {type: tcp, target: 'h:1'}]";
    let loaded = parse(text).unwrap();
    assert!(loaded.monitors[0].checked.is_err());
    let checked = loaded.monitors[1].checked.as_ref().unwrap();
    assert_eq!(checked.about.name, "h:1");
    assert_eq!(loaded.monitors[1].row().name.as_deref(), Some("h:1"));
}

#[test]
fn defaults_are_taken_wherever_they_stand_and_told_once_when_wrong() {
    let text = "\
monitors:
  - {type: tcp, target: 'a:1'}
  - {type: ping_web, target: 'http://b', interval: 5s}
defaults:
  interval: 20s
  contains: [x]
  retries: 1
";
    let loaded = parse(text).unwrap();
    let timing = |at: usize| loaded.monitors[at].checked.as_ref().unwrap().timing;
    assert_eq!((timing(0).interval_ms, timing(0).retries), (20_000, 1));
    assert_eq!((timing(1).interval_ms, timing(1).retries), (5_000, 1));
    let wrong = text.replace("retries: 1", "retries: 99").replace(", interval: 5s", "");
    assert_eq!(
        problems(&wrong),
        ["m.yaml:7:12: retries: 99 is out of bounds; write a number from 0 to 10"]
    );
}

#[test]
fn wrong_settings_defaults_and_keys_of_the_file_stop_it_and_are_told_with_all_others() {
    let text = "\
setings: {}
settings:
  cores: 0
  lissten: x
defaults: {target: h, intreval: 1s}
monitors:
  - {type: tcp, target: h}
";
    assert!(matches!(parse(text), Err(FileError::Wrong(_))));
    assert_eq!(
        problems(text),
        [
            "m.yaml:1:1: unknown key `setings`; did you mean `settings`?",
            "m.yaml:3:10: cores: 0 is out of bounds; write a number from 1 to 1024",
            "m.yaml:4:3: unknown key `lissten`; did you mean `listen`?",
            "m.yaml:5:23: unknown key `intreval`; did you mean `interval`?",
            "m.yaml:5:20: target: cannot have a default; write it with each monitor",
            "m.yaml:7:25: target: h names no port; write host:port, such as example.com:443",
        ]
    );
}

#[test]
fn a_file_of_another_shape_says_where_it_goes_wrong() {
    let fix = "write `monitors:` with a list below it";
    for (text, problem) in [
        ("", "1:1: the file is empty"),
        ("# nothing\n", "1:1: the file is empty"),
        ("\n- a\n", "2:1: the file is not a map"),
        ("settings: {}\n", "1:1: the file has no `monitors:`"),
        ("monitors: 5\n", "1:11: `monitors` is not a list"),
        ("monitors: []\nmonitors: []\n", "2:1: a key of the file is there twice"),
        ("monitors: []\n---\nmonitors: []\n", "3:1: the file has a second document"),
        ("[a]: b\n", "1:1: a key of the file is not a text"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(matches!(error, FileError::Shape { .. }), "{text:?}: {error}");
        assert!(error.to_string().starts_with(&format!("m.yaml:{problem}")), "{error}");
        assert!(error.to_string().ends_with(fix) || problem.contains("not a map"), "{error}");
    }
    for text in ["monitors: [", "monitors: *x", "a: b: c", "monitors:\n\t- a", "\"x"] {
        assert!(matches!(parse(text), Err(FileError::NotYaml { .. })), "{text}");
    }
    assert!(parse("settings:\ndefaults:\nmonitors:\n").unwrap().monitors.is_empty());
}

#[test]
fn yaml_may_use_anchors_but_no_bomb() {
    let text = "monitors:\n- &a {type: ping_icmp, target: h, tags: &t [x]}\n\
                - {type: ping_icmp, target: g, tags: *t}\n";
    let loaded = parse(text).unwrap();
    assert_eq!(loaded.monitors[1].checked.as_ref().unwrap().about.tags, ["x"]);
    let body = "x".repeat(1_000_000);
    let mut bomb = format!("monitors:\n- &a {{body: {body}}}\n");
    for _ in 0..1_000 {
        bomb += "- *a\n";
    }
    let error = parse(&bomb).unwrap_err().to_string();
    assert!(error.contains("anchors and aliases add more than 64 MiB"), "{error}");
}

#[test]
fn texts_stay_as_they_are_written() {
    let text = "monitors: [{name: 012, type: ping_icmp, target: h, tags: [no, 1e3, 0x1F, '~']}]";
    let about = &parse(text).unwrap().monitors[0].checked.as_ref().unwrap().about.clone();
    assert_eq!(about.name, "012");
    assert_eq!(about.tags, ["0x1F", "1e3", "no", "~"]);
}

#[test]
fn a_hundred_thousand_monitors_are_read_and_share_their_options() {
    let mut text = String::from("defaults: {interval: 30s}\nmonitors:\n");
    for number in 0..100_000 {
        writeln!(text, "  - name: m{number}").unwrap();
        writeln!(text, "    type: ping_web\n    target: https://h{number}.example/").unwrap();
    }
    let mut interner = Interner::default();
    let loaded = Loaded::parse("m.yaml".into(), &text, &mut interner).unwrap();
    assert_eq!(loaded.monitors.len(), 100_000);
    assert!(loaded.monitors.iter().all(|entry| entry.checked.is_ok()));
    assert_eq!(loaded.monitors[99_999].line, 3 + 3 * 99_999);
    assert_eq!(interner.len(), 1);
}

#[test]
fn a_file_is_read_from_disk_and_a_missing_one_is_named() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"\xef\xbb\xbfmonitors: []\n").unwrap();
    assert!(Loaded::read(file.path(), &mut Interner::default()).unwrap().monitors.is_empty());
    file.write_all(b"\xff").unwrap();
    let error = Loaded::read(file.path(), &mut Interner::default()).unwrap_err();
    assert!(matches!(error, FileError::Unreadable { .. }), "{error}");
    let missing = file.path().with_extension("missing");
    let error = Loaded::read(&missing, &mut Interner::default()).unwrap_err();
    assert!(error.to_string().starts_with(&missing.display().to_string()), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(
        text in "(monitors:|defaults:|[-:{}\\[\\]&*!|>'\"#%@,\n ~a-z0-9]){0,60}",
    ) {
        let _ = problems(&text);
    }

    #[test]
    fn the_example_with_any_character_changed_is_read_without_a_panic(
        at in 0..EXAMPLE.len(),
        with in "[-:{}\\[\\]&*!|>'\"#%@,\n\t ~x]",
    ) {
        let text = format!("{}{with}{}", &EXAMPLE[..at], &EXAMPLE[at + 1..]);
        let _ = problems(&text);
    }
}
