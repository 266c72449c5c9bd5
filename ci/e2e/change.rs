//! Monitors that are changed while the engine runs: by the command line, over the API.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::harness::{Engine, Said, ask, eventually, monitors, named, results, text};

/// `engine monitors` on this engine.
fn change(engine: &Engine, place: &Path, words: &[&str]) -> Said {
    let address = engine.address().to_string();
    let (command, rest) = words.split_first().unwrap();
    ask(&[&["monitors", command, "--listen", &address, "--data-dir", text(place)], rest].concat())
}

#[test]
fn a_monitor_added_to_a_running_engine_is_checked_at_once_paused_changed_and_survives_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = target.local_addr().unwrap().to_string();
    let config = place.path().join("monitors.yaml");
    fs::write(&config, format!("monitors:\n- {{name: filed, type: tcp, target: \"{target}\"}}\n"))
        .unwrap();
    let data = place.path().join("data");
    let engine = Engine::with_config(&data, &config);
    let said = |words: &[&str]| {
        let said = change(&engine, &data, words);
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        said.out
    };
    let target_pair = format!("target={target}");
    let out =
        said(&["add", "name=added", "type=tcp", &target_pair, "interval=1s", "tags=a", "tags=b"]);
    assert!(out.starts_with("added is there: monitor "), "{out}");
    engine.wait_verdict("added", "up");
    let ran = said(&["run", "added"]);
    assert!(ran.starts_with("added: up, ok in "), "{ran}");
    said(&["edit", "added", "target=127.0.0.1:1", "tags="]);
    assert_eq!(engine.wait_verdict("added", "down")["tags"], serde_json::json!([]));
    let ran = change(&engine, &data, &["run", "added"]);
    assert!(ran.code == 1 && ran.err.starts_with("added: down, connect_refused"), "{ran:?}");
    said(&["pause", "added"]);
    engine.wait_verdict("added", "paused");
    let refused = change(&engine, &data, &["run", "added"]);
    assert!(refused.err.contains("is paused; resume it first"), "{refused:?}");
    // What is of the file is changed there, and a mistake is told by its key.
    let refused = change(&engine, &data, &["pause", "filed"]);
    assert!(refused.code == 1 && refused.err.contains("is of the file"), "{refused:?}");
    let refused = change(&engine, &data, &["add", "type=tcp", "targt=x"]);
    assert!(refused.err.contains("did you mean `target`?"), "{refused:?}");
    engine.stop();

    let engine = Engine::with_config(&data, &config);
    let said = |words: &[&str]| {
        let said = change(&engine, &data, words);
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        said.out
    };
    assert_eq!(named(&monitors(&data), "added")["verdict"], "paused");
    said(&["resume", "added"]);
    engine.wait_verdict("added", "down");
    said(&["edit", "added", &target_pair]);
    engine.wait_verdict("added", "up");
    // All rows of one engine are the monitors of another.
    let exported = ask(&["monitors", "export", "--data-dir", text(&data)]);
    assert_eq!(exported.json_lines().len(), 2, "{exported:?}");
    said(&["rm", "added"]);
    assert_eq!(monitors(&data).len(), 1);
    let count = results(&data, "added").len();
    let rows = place.path().join("rows.ndjson");
    fs::write(&rows, format!("{}\nnot json\n", exported.out)).unwrap();
    let imported = change(&engine, &data, &["import", text(&rows)]);
    assert_eq!(imported.code, 1);
    assert!(imported.err.contains("1 added, 0 changed, 0 as they were, 2 refused"), "{imported:?}");
    assert!(imported.err.contains("\"filed\" is taken by file"), "{imported:?}");
    eventually("its history goes on", || (results(&data, "added").len() > count).then_some(()));
    engine.metrics().assert_balanced();
    engine.stop();
}
