//! The screen drawn into memory, and the keys.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::super::ask::{Shard, Type};
use super::*;
use crate::cli::live::{LiveRow, LiveView};

fn shown() -> Shown {
    let row = |name: &str, verdict| LiveRow {
        name: name.into(),
        kind: "tcp",
        target: "a:1".into(),
        verdict,
        since_ms: 1_000,
        last_us: Some(41_200),
        message: "refused".into(),
    };
    Shown {
        view: LiveView {
            now_ms: 61_000,
            verdicts: [0, 1, 1, 0, 0],
            rows: vec![row("api", Verdict::Down), row("shop\u{1b}[2J", Verdict::Up)],
            ..LiveView::default()
        },
        ids: vec![7, 9],
        total: 2,
        shards: vec![Shard {
            name: "0".into(),
            checks_per_s: 12.5,
            cpu: 0.05,
            in_flight: 3.0,
            lag_p99_s: Some(0.0025),
        }],
        types: vec![Type {
            name: "tcp".into(),
            checks_per_s: 12.5,
            quantiles_us: [1_000, 2_000, 30_000],
            down_per_min: 6.0,
        }],
        details: None,
    }
}

fn drawn(screen: &mut Screen, shown: &Shown, columns: u16, lines: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    let draw = |frame: &mut Frame| {
        screen.draw(shown, None, frame);
    };
    terminal.draw(draw).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y: u16| {
        let cells = (0..columns).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..lines).map(line).collect()
}

fn press(screen: &mut Screen, code: KeyCode) -> Asked {
    screen.on_key(KeyEvent::new(code, KeyModifiers::NONE), &shown(), 10)
}

#[test]
fn shards_types_and_monitors_are_on_the_screen_and_a_hostile_name_stays_harmless() {
    let lines = drawn(&mut Screen::default(), &shown(), 130, 16);
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(has("≤ 2.50 ms"), "{lines:#?}");
    assert!(has("30.0 ms"), "{lines:#?}");
    assert!(has(" DOWN    api"), "{lines:#?}");
    assert!(has("shop·[2J"), "{lines:#?}");
    assert!(lines.last().unwrap().ends_with("worst  2 of 2"), "{lines:#?}");
}

#[test]
fn keys_filter_sort_and_open_one_monitor() {
    let mut screen = Screen::default();
    assert_eq!(press(&mut screen, KeyCode::Char('/')), Asked::Draw);
    for character in "q s".chars() {
        assert_eq!(press(&mut screen, KeyCode::Char(character)), Asked::Ask);
    }
    press(&mut screen, KeyCode::Enter);
    assert_eq!(screen.wish.text, "q s");
    press(&mut screen, KeyCode::Char('s'));
    press(&mut screen, KeyCode::Char('v'));
    assert_eq!((screen.wish.sort, screen.wish.verdict), (Sort::Name, Some(Verdict::Down)));
    press(&mut screen, KeyCode::Down);
    press(&mut screen, KeyCode::Down);
    assert_eq!(press(&mut screen, KeyCode::Enter), Asked::Ask);
    assert_eq!(screen.wish.details_of, Some(9), "the last one is the last");
    assert_eq!(press(&mut screen, KeyCode::Esc), Asked::Ask);
    assert_eq!(screen.wish.details_of, None);
    assert_eq!(press(&mut screen, KeyCode::Esc), Asked::Quit);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen.on_key(interrupt, &shown(), 10), Asked::Quit);
}

#[test]
fn the_details_show_each_phase_that_was_reached() {
    let mut shown = shown();
    let result = json!({
        "due_ms": 60_000, "total_us": 4_000, "lag_us": 90, "verdict": "down", "result": "timeout",
        "http_status": 503, "phases": {"connect": 1_000, "wait": 3_000, "tls": null},
    });
    let evidence = vec![json!({"message": "no answer"})];
    shown.details = Some(Details { id: 7, results: vec![result], evidence });
    let mut screen = Screen::default();
    screen.wish.details_of = Some(7);
    let lines = drawn(&mut screen, &shown, 130, 24);
    let bar = |name: &str| {
        let line = lines.iter().find(|line| line.starts_with(&format!(" {name}")));
        line.map(|line| line.chars().filter(|c| *c == '█').count())
    };
    assert_eq!((bar("connect"), bar("wait"), bar("tls")), (Some(10), Some(30), None));
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(has("1970-01-01T00:01:00.000Z  DOWN"), "{lines:#?}");
    assert!(has("last failure: no answer"), "{lines:#?}");
}

#[test]
fn a_terminal_of_any_size_is_drawn_on() {
    for (columns, lines) in [(1, 1), (20, 3), (80, 6), (300, 100)] {
        drawn(&mut Screen::default(), &shown(), columns, lines);
    }
}

#[test]
fn without_a_terminal_the_same_is_printed_once() {
    let text = plain(&shown(), Sort::Worst);
    assert!(text.contains("DOWN     api"), "{text}");
    assert!(text.ends_with("2 of 2 monitors, in the order of worst\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}
