//! The web page in a headless Chromium: every page, every action, and hostile words everywhere.
//!
//! Pictures of all pages are written below `target/tmp/page`.

use std::sync::Arc;

use engine::clock::wall_millis;
use engine::ids::MonitorId;
use engine::limits::API_PAGE_ROWS_MAX;
use engine::messages::{BatchSink, Change};
use engine::monitor::Kind;
use engine::sample::{Sample, SampleBatch, Verdict};
use engine::store::NewMonitor;

use crate::browser::Browser;
use crate::made::{Api, bad, batch, good, monitor};

/// So many monitors in three tags; every ninth is down since 40 minutes.
fn some(count: u64) -> (Vec<NewMonitor>, Vec<SampleBatch>) {
    let tags = [["checkout", "eu"], ["search", "us"], ["mail", "eu"]];
    let kinds = [Kind::PingWeb, Kind::Tcp, Kind::WebContent, Kind::PingIcmp];
    let monitors = (0..count as usize).map(|at| {
        let tags = tags[at % 3];
        monitor(&format!("{}-{at:03}", tags[0]), kinds[at % 4], &tags)
    });
    let now_ms = wall_millis();
    let begin_ms = now_ms - 60 * 60_000;
    let minutes = (0..60).map(|minute| {
        let due_ms = begin_ms + minute * 60_000;
        let samples = (1..=count).map(|id| match id % 9 == 0 && minute >= 20 {
            true => bad(id, due_ms),
            false => Sample { total_us: wobble(id * 61 + minute), ..good(id, due_ms) },
        });
        let mut batch = batch(minute + 1, samples.collect(), "TCP connection refused");
        if minute > 20 {
            batch.transitions.clear(); // They changed once.
        }
        batch
    });
    (monitors.collect(), minutes.collect())
}

/// A response time that is another one each time, in microseconds.
fn wobble(seed: u64) -> u32 {
    let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
    60_000 + (random % 45_000) as u32 + if random.is_multiple_of(13) { 90_000 } else { 0 }
}

/// Logs in as a person does.
pub fn log_in(browser: &Browser) {
    browser.open("/");
    assert_eq!(browser.run("return location.pathname"), "/login");
    browser.keys("admin\u{e004}s3cret\u{e007}");
    browser.until("the overview is there", "return document.querySelector('.hero .big') !== null");
}

#[tokio::test]
async fn every_page_and_action_works_by_mouse_and_keyboard_in_light_dark_and_on_a_phone() {
    let (monitors, samples) = some(120);
    let api = Api::at(wall_millis, &monitors, &samples).await;
    let base = api.serve().await;
    let browser = tokio::task::spawn_blocking(move || {
        let browser = Browser::start(&base);
        browser.open("/login");
        browser.picture("login");
        log_in(&browser);
        overview(&browser);
        list(&browser);
        one_monitor(&browser);
        incidents(&browser);
        settings(&browser);
        changes(&browser);
        looks(&browser);
        browser.open("/");
        browser
    });
    let browser = browser.await.unwrap();

    // What is recorded is on the page without anybody asking for it.
    let mut news = batch(1, vec![bad(1, wall_millis())], "gone");
    news.transitions[0].from = Verdict::Up;
    let (store, told) = (api.store.clone(), Arc::clone(&api.told));
    assert_eq!(api.fleet.index().place(MonitorId(1)).unwrap().verdict(), Verdict::Up);
    tokio::task::spawn_blocking(move || {
        browser
            .until("it is live", "return document.getElementById('live').textContent === 'live'");
        store.give(news).unwrap();
        browser.until(
            "the count follows",
            "return document.querySelector('.hero a .figure').textContent === '14'",
        );
        browser.until(
            "the list of changes follows",
            "return [...document.querySelectorAll('.list li')]
                .some((row) => row.innerText.includes('checkout-000'))",
        );
        browser.assert_clean("live");
        // A check that is asked for: its result is on the page when it comes.
        browser.open("/monitors/2");
        browser.click(".title .end button");
        let asked = |change: &Change| matches!(change, Change::CheckNow(ids) if ids[0].0 == 2);
        while !told.lock().unwrap().iter().any(asked) {
            std::thread::yield_now();
        }
        store.give(batch(2, vec![good(2, wall_millis())], "")).unwrap();
        browser.until(
            "the result is told",
            "return document.querySelector('[role=status].note').innerText
                .startsWith('Checked just now: ok in 100 ms')",
        );
        browser.picture("monitor-checked");
        browser.assert_clean("check now");
    })
    .await
    .unwrap();
}

fn overview(browser: &Browser) {
    assert_eq!(browser.text(".hero .big"), "89.1 %");
    assert!(browser.text(".hero").contains("107 of 120 known, 120 monitors"));
    assert_eq!(browser.run("return document.querySelectorAll('.map canvas').length"), 3);
    assert!(browser.text(".map-group").contains("checkout"));
    let rows = browser.run("return document.querySelectorAll('.list').length");
    assert_eq!(rows, 2, "incidents and changes");
    assert!(browser.text("#live").starts_with("live"));
    browser.picture("overview-light");
    browser.assert_clean("overview");
    // From the number of those that are down to their list.
    browser.click(".hero a");
    browser
        .until("the list is there", "return document.querySelectorAll('tbody tr').length === 13");
    assert_eq!(browser.run("return location.search"), "?verdict=down");
}

fn list(browser: &Browser) {
    browser.open("/monitors");
    browser.picture("monitors-light");
    assert_eq!(browser.run("return document.querySelectorAll('tbody tr').length"), 50);
    assert!(browser.text("tbody tr").starts_with("down"), "the worst is first");
    // Pages, forward and back.
    browser.click(".pager button:last-child");
    browser.until("page 2", "return document.querySelector('.pager').innerText.includes('Page 2')");
    browser.click(".pager button:last-child");
    browser.until("page 3", "return document.querySelectorAll('tbody tr').length === 20");
    browser.click(".pager button");
    browser.until("page 2", "return document.querySelector('.pager').innerText.includes('Page 2')");
    // Search while typing, with the focus kept.
    browser.run("document.querySelector('input[type=search]').focus()");
    browser.keys("search-04");
    browser.until("it is found", "return document.querySelectorAll('tbody tr').length === 4");
    assert_eq!(browser.run("return document.activeElement.type"), "search");
    browser.click(".chips button:nth-child(2)");
    browser.until("none is down", "return document.querySelector('.empty') !== null");
    browser.picture("monitors-none");
    // Tag, and the way back.
    browser.open("/monitors");
    browser.click("tbody tr a.tag");
    browser.until("one tag", "return new URLSearchParams(location.search).has('tag')");
    browser.run("history.back()");
    browser.until(
        "all again",
        "return document.querySelector('h1 + span').innerText === '120 in all'",
    );
    browser.assert_clean("list");
}

fn one_monitor(browser: &Browser) {
    browser.open("/monitors/9");
    assert!(browser.text(".title").contains("mail-008"));
    assert!(browser.text(".title").contains("TCP connection refused"));
    assert_eq!(browser.run("return document.querySelectorAll('.days i').length"), 90);
    assert!(browser.text("details.evidence").contains("connect_refused"));
    assert!(
        browser.run("return document.querySelectorAll('.chart .fail').length").as_u64() > Some(10)
    );
    browser.picture("monitor-down-light");
    browser.open("/monitors/1");
    assert!(
        browser.run("return document.querySelectorAll('.chart .line').length").as_u64() >= Some(3)
    );
    assert_eq!(browser.run("return document.querySelectorAll('.phases i').length"), 5);
    browser.picture("monitor-light");
    browser.click(".panel .chips button:nth-child(3)");
    browser.until(
        "a week is shown",
        "return document
        .querySelector('.panel .chips button:nth-child(3)')
        .getAttribute('aria-pressed') === 'true'",
    );
    assert_eq!(browser.run("return document.title"), "checkout-000 · engine");
    browser.assert_clean("monitor");
    // An address of no monitor is told; the browser logs the 404s.
    browser.open("/monitors/9999");
    assert!(browser.text(".error").contains("there is no monitor 9999"));
    browser.picture("monitor-none");
    browser.forget_log();
}

fn incidents(browser: &Browser) {
    browser.open("/incidents");
    assert_eq!(browser.text("h1 + span"), "13 open");
    assert_eq!(browser.run("return document.querySelectorAll('tbody tr').length"), 13);
    browser.picture("incidents-light");
    browser.click("tbody a");
    browser.until("its monitor", "return location.pathname.startsWith('/monitors/')");
}

fn settings(browser: &Browser) {
    browser.open("/settings");
    let text = browser.text("main");
    for shown in ["127.0.0.1:8787", "No window is planned.", "Nothing is public", "good"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    browser.click("[aria-label='Send a test over good']");
    browser.until(
        "it is delivered",
        "return document.querySelector('tr .note').innerText.startsWith('Delivered in ')",
    );
    browser.click("[aria-label='Send a test over bad']");
    browser.until(
        "its refusal is told",
        "return (document.querySelector('tr .v-down')?.innerText ?? '') !== ''",
    );
    browser.forget_log();
    browser.click(".panel-head .button");
    browser.run("document.querySelector('dialog [name=name]').value = 'grafana <b>'");
    browser.picture("token-add-light");
    browser.click("dialog [type=submit]");
    browser.until(
        "the token is shown",
        "return document.querySelector('dialog pre')?.innerText.startsWith('eng_') ?? false",
    );
    browser.click("dialog .primary");
    browser.picture("settings-light");
    browser.click("[aria-label='Revoke grafana <b>']");
    browser.click("dialog [type=submit]");
    browser.until(
        "it is gone",
        "return !document.querySelector('main').innerText.includes('grafana')
            && document.querySelector('dialog') === null",
    );
    browser.assert_clean("settings");
}

fn changes(browser: &Browser) {
    browser.open("/monitors");
    browser.click(".button.primary");
    browser.picture("add-light");
    let fill = |name: &str, value: &str| {
        browser.run(&format!("document.querySelector('dialog [name={name}]').value = '{value}'"));
    };
    // A mistake is told in the form, which stays.
    fill("target", "no port");
    fill("type", "tcp");
    browser.click("dialog [type=submit]");
    browser.until("the mistake is told", "return !document.querySelector('dialog .bad').hidden");
    assert!(browser.text("dialog .bad").contains("target"), "{}", browser.text("dialog .bad"));
    browser.forget_log();
    fill("target", "127.0.0.1:9");
    fill("name", "added-here");
    fill("tags", "eu, new");
    browser.click("dialog [type=submit]");
    browser
        .until("its own page", "return document.querySelector('h1')?.innerText === 'added-here'");
    assert!(browser.text(".title").contains("eu\nnew"), "{}", browser.text(".title"));
    let press = |at: u32| browser.click(&format!(".title .end button:nth-child({at})"));
    press(2);
    browser.until(
        "it is paused",
        "return document.querySelector('.title .pill').innerText === 'paused'",
    );
    press(1);
    browser.until(
        "it goes on",
        "return document.querySelector('.title .pill').innerText === 'pending'",
    );
    press(3);
    fill("target", "127.0.0.1:10");
    browser.click("dialog [type=submit]");
    browser.until(
        "it is changed",
        "return document.querySelector('.title code').innerText === '127.0.0.1:10'",
    );
    press(4);
    browser.click("dialog [type=submit]");
    browser.until("the list", "return location.pathname === '/monitors'");
    browser.assert_clean("changes");
}

fn looks(browser: &Browser) {
    let pages = [
        ("/", "overview"),
        ("/monitors", "monitors"),
        ("/monitors/9", "monitor-down"),
        ("/incidents", "incidents"),
        ("/settings", "settings"),
    ];
    browser.prefer("dark");
    for (path, name) in pages {
        browser.open(path);
        browser.picture(&format!("{name}-dark"));
    }
    let dark = "return getComputedStyle(document.body).backgroundColor === 'rgb(14, 18, 23)'";
    assert_eq!(browser.run(dark), true);
    browser.click("#theme");
    assert_eq!(browser.run(dark), false, "chosen light");
    browser.open("/");
    assert_eq!(browser.run(dark), false, "remembered");
    browser.prefer("light");
    browser.run("localStorage.clear()");
    browser.size(390, 844);
    for (path, name) in pages {
        browser.open(path);
        let fits =
            browser.run("return document.documentElement.scrollWidth <= 390 && innerWidth === 390");
        assert_eq!(fits, true, "{path} is wider than a phone");
        browser.picture(&format!("{name}-phone"));
    }
    browser.size(1280, 900);
    // By keyboard alone: the first stop skips the bar, the fourth opens the list.
    browser.open("/");
    browser.keys("\u{e004}");
    assert_eq!(browser.run("return document.activeElement.className"), "skip");
    browser.keys("\u{e004}\u{e004}\u{e004}\u{e007}");
    browser.until(
        "the list",
        "return location.pathname === '/monitors' && document.activeElement.id === 'main'",
    );
}

#[tokio::test]
async fn hostile_words_are_shown_as_text_and_nothing_of_them_runs() {
    let words = crate::hostile::words();
    assert!(words.len() >= 500, "{}", words.len());
    let (monitors, samples) = crate::hostile::fleet(&words);
    let api = Api::at(wall_millis, &monitors, &samples).await;
    let base = api.serve().await;
    tokio::task::spawn_blocking(move || {
        let browser = Browser::start(&base);
        log_in(&browser);
        browser.open("/");
        // The tip of the map too.
        browser.run(
            "document.querySelector('canvas')
            .dispatchEvent(new MouseEvent('mousemove', { clientX: 300, clientY: 300 }))",
        );
        browser.assert_clean("overview");
        for _ in 0..words.len().div_ceil(API_PAGE_ROWS_MAX) {
            let next = browser.run(
                "return document
                .querySelector('.pager button:last-child:not([disabled])') !== null",
            );
            match next == true {
                true => {
                    let before = browser.text("tbody");
                    browser.click(".pager button:last-child");
                    let before = serde_json::json!(before);
                    let rows = "document.querySelector('tbody')?.innerText";
                    browser.until("the next page", &format!("return {rows} !== {before}"));
                }
                false => browser.open(&format!("/monitors?limit={API_PAGE_ROWS_MAX}")),
            }
            browser.assert_clean("list");
        }
        browser.open("/incidents");
        browser.assert_clean("incidents");
        for id in 1..=25 {
            browser.open(&format!("/monitors/{id}"));
            browser.run(
                "document.querySelectorAll('details')
                .forEach((node) => { node.open = true; })",
            );
            let shown = browser.text("h1");
            let joined = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(joined(&shown), joined(&words[id - 1]));
            browser.assert_clean(&words[id - 1]);
        }
        let hostile = serde_json::json!(words[0]);
        browser.open("/monitors");
        browser.run(&format!(
            "const word = encodeURIComponent({hostile});
            location.search = '?tag=' + word + '&text=' + word"
        ));
        browser.until(
            "the filter is shown",
            "return document
            .querySelector('input[type=search]')?.value !== ''",
        );
        browser.assert_clean("filters from the address");
        browser.open("/monitors/1");
        browser.picture("hostile");
        browser.open("/legacy");
        browser.assert_clean("the original's dashboard");
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_watch_sees_what_runs_and_what_the_policy_refuses() {
    let api = Api::at(wall_millis, &[], &[]).await;
    let base = api.serve().await;
    tokio::task::spawn_blocking(move || {
        let browser = Browser::start(&base);
        log_in(&browser);
        assert!(browser.text(".map, .empty").contains("no monitors yet"));
        browser.picture("overview-empty");
        let is_clean = || {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                browser.assert_clean("planted")
            }))
        };
        assert!(is_clean().is_ok());
        browser.run("window.__xss = 1");
        assert!(is_clean().is_err());
        browser.open("/");
        assert!(is_clean().is_ok());
        browser.run("document.body.setAttribute('style', 'color: red')");
        browser.until("the refusal is told", "return window.__refused.length === 1");
        assert!(is_clean().is_err());
        browser.open("/");
        let refused = browser.run(
            "try { document.body.innerHTML = '<b>x</b>'; return false; } catch { return true; }",
        );
        assert_eq!(refused, true, "text is never taken for markup");
    })
    .await
    .unwrap();
}
