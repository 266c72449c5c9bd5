//! A running engine watched from outside: `top` where it is piped, and `tail`.

use crate::harness::{Engine, ask, eventually, text};

#[test]
fn top_prints_shards_types_and_the_worst_monitors_and_tail_follows_results() {
    let place = tempfile::tempdir().unwrap();
    let engine = Engine::start(place.path(), &["--demo"]);
    engine.wait_verdict("shop", "up");
    let address = engine.address().to_string();
    let remote = ["--data-dir", text(place.path()), "--listen", &address];

    let said = ask(&[&["tail", "--json", "--count", "8"][..], &remote].concat());
    let lines = said.json_lines();
    assert_eq!((said.code, lines.len()), (0, 8), "{said:?}");
    for line in &lines {
        assert!(line["monitor"].is_u64() && line["verdict"].is_string(), "{line}");
    }
    assert!(lines.iter().any(|line| line["name"].is_string()), "{lines:?}");
    let refused = ask(&["tail", "--listen", "127.0.0.1:1", "--data-dir", text(place.path())]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("no engine answers on 127.0.0.1:1"), "{refused:?}");

    let said = eventually("rates of the shards", || {
        let said = ask(&[&["top", "--verdict", "down"][..], &remote].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.out.contains("DOWN").then_some(said)
    });
    for word in ["SHARD", "ping_web", "checks/s", "in the order of worst"] {
        assert!(said.out.contains(word), "{word} is not in\n{}", said.out);
    }
    assert!(!said.out.contains("UP  "), "{}", said.out);
    engine.stop();
}
