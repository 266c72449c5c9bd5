//! The live view drawn into memory, and its lines.

use std::sync::mpsc::channel;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;

const NOW_MS: u64 = 1_795_444_849_000;

fn row(name: &str, verdict: Verdict, message: &str) -> LiveRow {
    LiveRow {
        name: name.into(),
        kind: "ping_web",
        target: format!("https://{name}.example/"),
        verdict,
        since_ms: NOW_MS - 200_000,
        last_us: Some(41_200),
        message: message.into(),
    }
}

fn view() -> LiveView {
    let pending = LiveRow { since_ms: 0, last_us: None, ..row("new", Verdict::Pending, "") };
    LiveView {
        now_ms: NOW_MS,
        started_ms: NOW_MS - 7_500_000,
        listen: "http://127.0.0.1:8787/metrics".into(),
        verdicts: [1, 1, 1, 0, 0],
        checks_per_s: 16.66,
        lag_p99_us: 1_900,
        in_flight: 3,
        missed: 0,
        rows: vec![
            row("shop", Verdict::Up, "200 OK"),
            row("api", Verdict::Down, "refused"),
            pending,
        ],
        changes: vec![],
    }
}

/// The lines of a terminal of this size after drawing.
fn drawn(view: &LiveView, top: usize, columns: u16, lines: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw(view, top, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y: u16| {
        let cells = (0..columns).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..lines).map(line).collect()
}

#[test]
fn the_head_has_the_counts_and_the_table_one_line_per_monitor() {
    let lines = drawn(&view(), 0, 120, 7);
    let wanted = [
        " engine 2h 05m   3 monitors   PENDING 1   UP 1   DOWN 1",
        " 16.7 checks/s   3 in flight   lag p99 1.90 ms   0 missed   http://127.0.0.1:8787/metrics",
    ];
    assert_eq!(lines[..2], wanted);
    for (line, words) in lines[2..6].iter().zip([
        ["VERDICT", "NAME", "LAST", "MESSAGE"],
        ["UP", "shop", "41.2 ms", "200 OK"],
        ["DOWN", "https://api.example/", "3m 20s", "refused"],
        ["PENDING", "new", "–", ""],
    ]) {
        for word in words {
            assert!(line.contains(word), "{word} in {lines:#?}");
        }
    }
    assert!(lines[6].ends_with("1–3 of 3"), "{lines:#?}");
}

#[test]
fn any_size_of_terminal_can_be_drawn_on() {
    for (columns, lines) in [(1, 1), (5, 3), (20, 4), (300, 2), (300, 80)] {
        for top in [0, 2, 3, 100] {
            assert_eq!(drawn(&view(), top, columns, lines).len(), usize::from(lines));
        }
    }
    drawn(&LiveView::default(), 0, 80, 24);
}

#[test]
fn a_hostile_message_does_not_leave_its_cell() {
    let mut view = view();
    view.rows = vec![row("shop", Verdict::Up, "a\x1b[2J\nDOWN"), row("api", Verdict::Up, "fine")];
    let lines = drawn(&view, 0, 120, 6);
    assert!(lines[3].contains("a·[2J·DOWN"), "{lines:#?}");
    assert!(lines[4].contains("fine"), "{lines:#?}");
}

#[test]
fn keys_scroll_within_the_rows_and_stop() {
    let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
    let mut scroll = Scroll::default();
    let mut top_after = |code| {
        assert!(!scroll.on_key(key(code), 10));
        scroll.clamp(25, 10);
        scroll.top
    };
    assert_eq!(top_after(KeyCode::Up), 0);
    assert_eq!(top_after(KeyCode::Down), 1);
    assert_eq!(top_after(KeyCode::PageDown), 11);
    assert_eq!(top_after(KeyCode::PageDown), 15);
    assert_eq!(top_after(KeyCode::Home), 0);
    assert_eq!(top_after(KeyCode::End), 15);
    assert_eq!(top_after(KeyCode::Char('c')), 15);

    assert!(scroll.on_key(key(KeyCode::Char('q')), 10));
    assert!(scroll.on_key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), 10));
    scroll.clamp(3, 10);
    assert_eq!(scroll.top, 0);
}

#[test]
fn without_a_terminal_each_change_is_a_line_and_a_summary_comes_every_ten_seconds() {
    let (sender, views) = channel();
    let change = LiveChange {
        at_ms: NOW_MS,
        name: "api\n".into(),
        kind: "ping_web",
        to: Verdict::Down,
        message: "connection refused".into(),
    };
    sender.send(LiveView { changes: vec![change], ..view() }).unwrap();
    sender.send(LiveView { now_ms: NOW_MS + 9_999, ..view() }).unwrap();
    sender.send(LiveView { now_ms: NOW_MS + 10_000, ..view() }).unwrap();
    drop(sender);

    let mut out = Vec::new();
    let ended = run_plain(&views, &mut out, &Style::plain(), || false).unwrap();
    assert_eq!(ended, Ended::ByEngine);
    let wanted = "\
14:40:49  DOWN     api·  ping_web  connection refused
14:40:49  pending 1, up 1, down 1  16.7 checks/s  3 in flight  lag p99 1.90 ms  0 missed
14:40:59  pending 1, up 1, down 1  16.7 checks/s  3 in flight  lag p99 1.90 ms  0 missed
";
    assert_eq!(String::from_utf8(out).unwrap(), wanted);
}

#[test]
fn without_a_terminal_the_user_stops_it_even_when_no_view_comes() {
    let (_sender, views) = channel();
    let ended = run_plain(&views, &mut Vec::new(), &Style::plain(), || true).unwrap();
    assert_eq!(ended, Ended::ByUser);
}

#[test]
fn only_the_newest_of_several_views_is_shown() {
    let (sender, views) = channel();
    assert!(newest(&views).unwrap().is_none());
    for in_flight in [1, 2] {
        sender.send(LiveView { in_flight, ..view() }).unwrap();
    }
    assert_eq!(newest(&views).unwrap().unwrap().in_flight, 2);
    drop(sender);
    assert_eq!(newest(&views).unwrap_err(), Ended::ByEngine);
}
