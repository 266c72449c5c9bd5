//! Public status pages and badges: what strangers see, and what they never do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::clock::wall_millis;
use engine::config::Loaded;
use engine::monitor::Kind;
use engine::monitor::row::Interner;
use serde_json::Value;

use crate::browser::Browser;
use crate::made::{Answer, Api, NOW, bad, batch, good, monitor};
use crate::scene;
use crate::v1::Away;

/// The pages of a file with these `status_pages` and `maintenance`.
pub fn configure(api: &Api, text: &str) {
    let text = format!("monitors:\n{text}");
    let loaded = Loaded::parse("m.yaml".into(), &text, &mut Interner::default()).unwrap();
    api.pages.set(&loaded.status_pages, &loaded.maintenance);
}

const SHOP: &str = "\
status_pages:
  - slug: shop
    title: The <b>shop</b>
    description: Ours & yours
    tags: [shop]
  - slug: all
    title: Everything
    tags: [shop, secret]
    monitors: [delta]
    details: true
";

/// `bravo` is down, `covert` is on one page only, `outsider` on none.
async fn five(clock: fn() -> u64) -> Api {
    let monitors = [
        monitor("alpha", Kind::PingWeb, &["shop", "eu"]),
        monitor("bravo", Kind::PingWeb, &["shop"]),
        monitor("covert", Kind::PingWeb, &["secret"]),
        monitor("delta", Kind::Tcp, &[]),
        monitor("outsider", Kind::PingWeb, &["eu"]),
    ];
    let mut samples: Vec<_> = (0..30).map(|minute| good(1, NOW - minute * 60_000)).collect();
    samples.extend([good(3, NOW), good(4, NOW), good(5, NOW), bad(2, NOW - 600_000)]);
    let api = Api::at(clock, &monitors, &[batch(1, samples, "refused by 10.1.2.3")]).await;
    configure(&api, SHOP);
    api
}

async fn ask(api: &Api, path: &str) -> Answer {
    api.ask(&format!("GET {path}"), &[]).await
}

#[tokio::test]
async fn a_stranger_sees_what_a_page_selects_and_nothing_else() {
    let api = five(|| NOW).await;
    let page = ask(&api, "/status/shop").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    for shown in ["alpha", "bravo", "1 of 2 is down", "The &lt;b&gt;shop", "Ours &amp; yours"] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    for other in ["covert", "delta", "outsider", "10.1.2.3", "example", "connect_refused", ">eu<"] {
        assert!(!page.text.contains(other), "{other}: {}", page.text);
        for form in ["json", "atom"] {
            let text = ask(&api, &format!("/status/shop.{form}")).await.text;
            assert!(!text.contains(other), "{form} {other}: {text}");
        }
    }
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let all = ask(&api, "/status/all").await.text;
    for shown in ["https://bravo.example/", "connect_refused", "covert", "delta"] {
        assert!(all.contains(shown), "{shown}: {all}");
    }
    assert!(!all.contains("10.1.2.3"), "messages are never public: {all}");
    for path in ["/status/none", "/status/", "/status/shop.xml", "/status/shop/x", "/status/SHOP"] {
        assert_eq!(ask(&api, path).await.status, 404, "{path}");
    }
    configure(&api, "");
    assert_eq!(ask(&api, "/status/shop").await.status, 404, "taken away at once");
}

#[tokio::test]
async fn a_page_as_json_has_the_state_of_each_monitor_and_days_without_data_are_null() {
    let api = five(|| NOW).await;
    let page: Value = ask(&api, "/status/shop.json").await.json();
    assert_eq!((&page["overall"], &page["counts"]["down"]), (&"partly".into(), &1.into()));
    let monitors = page["groups"][0]["monitors"].as_array().unwrap();
    assert_eq!((monitors.len(), &monitors[0]["name"]), (2, &"alpha".into()));
    assert_eq!(monitors[0]["response_us"], 99_840, "as stored, within 0.8 %");
    assert_eq!(monitors[0]["target"], Value::Null);
    let days = monitors[1]["days"].as_array().unwrap();
    assert_eq!((days.len(), &days[0]), (90, &Value::Null));
    assert_eq!(days[89], 0.0, "down since it was first seen");
    assert_eq!(page["incidents"][0]["opened_ms"], NOW - 600_000);
    let feed = ask(&api, "/status/shop.atom").await;
    assert_eq!(feed.header("content-type"), "application/atom+xml");
    assert!(feed.text.contains("<title>bravo is down</title>"), "{}", feed.text);
}

static TIME: AtomicU64 = AtomicU64::new(NOW);

#[tokio::test]
async fn a_page_is_made_once_for_all_who_ask_and_again_when_it_is_old() {
    let api = five(|| TIME.load(Ordering::Relaxed)).await;
    let first = ask(&api, "/status/shop.json").await;
    assert!(first.header("cache-control").starts_with("public, max-age="));
    let tag = first.header("etag").to_owned();
    let again = api.ask("GET /status/shop.json", &[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.text.len()), (304, 0));
    api.record(batch(1, vec![bad(1, NOW)], "gone"));
    api.until("/monitors?verdict=down", |page| page["total"] == 2).await;
    assert_eq!(ask(&api, "/status/shop.json").await.text, first.text, "not yet");
    TIME.store(NOW + 5_000, Ordering::Relaxed);
    let page: Value = ask(&api, "/status/shop.json").await.json();
    assert_eq!((&page["overall"], &page["counts"]["down"]), (&"down".into(), &2.into()));
    assert_eq!(page["made_ms"], NOW + 5_000);
    assert_eq!(page["incidents"].as_array().unwrap().len(), 2, "changes were read anew");
}

#[tokio::test]
async fn badges_of_public_monitors_are_for_all_and_others_for_those_with_a_token() {
    let api = five(|| NOW).await;
    for (path, told) in [
        ("/badge/shop/status.svg", ">1 of 2 down<"),
        ("/badge/alpha/status.svg", ">up<"),
        ("/badge/2/status.svg", ">down<"),
        ("/badge/alpha/response.svg", ">100 ms<"),
        ("/badge/bravo/uptime.svg?days=7", ">uptime 7 d<"),
        ("/badge/alpha/status.svg?label=%3Cscript%3E", ">&lt;script&gt;<"),
    ] {
        let badge = ask(&api, path).await;
        assert_eq!((badge.status, badge.header("content-type")), (200, "image/svg+xml"), "{path}");
        assert!(badge.text.contains(told), "{path}: {}", badge.text);
        assert!(badge.header("cache-control").starts_with("public"), "{path}");
        assert_eq!(badge.header("content-security-policy"), "default-src 'none'; sandbox");
    }
    let token = format!("Bearer {}", api.token);
    for path in ["/badge/outsider/status.svg", "/badge/5/uptime.svg", "/badge/5/response.svg"] {
        let refused = ask(&api, path).await;
        let missing = ask(&api, "/badge/nobody/status.svg").await;
        assert_eq!((refused.status, refused.text), (404, missing.text), "as if it were not there");
        let wrong = [("authorization", "Bearer eng_wrong")];
        assert_eq!(api.ask(&format!("GET {path}"), &wrong).await.status, 404);
        let badge = api.ask(&format!("GET {path}"), &[("authorization", &token)]).await;
        assert_eq!((badge.status, badge.header("cache-control")), (200, "private, no-cache"));
    }
    for path in ["/badge/alpha/colour.svg", "/badge/alpha/status.png"] {
        assert_eq!(ask(&api, path).await.status, 404, "{path}");
    }
    for path in ["/badge/alpha/uptime.svg?days=8", "/badge/alpha/uptime.svg?color=red"] {
        assert_eq!(ask(&api, path).await.status, 400, "{path}");
    }
}

#[tokio::test]
async fn windows_of_maintenance_are_announced_to_whom_they_concern() {
    let api = five(|| NOW).await;
    let windows = "\
maintenance:
  - tags: [shop]
    from: 2026-11-25T20:00:00Z
    to: 2026-11-25T22:00:00Z
  - tags: [eu]
    from: 2026-11-23T14:00:00Z
    to: 2026-11-23T15:00:00Z
  - tags: [secret]
    from: 2026-11-24T20:00:00Z
    to: 2026-11-24T22:00:00Z
  - tags: [shop]
    from: 2027-01-01T20:00:00Z
    to: 2027-01-01T22:00:00Z
";
    configure(&api, &format!("{SHOP}{windows}"));
    let page: Value = ask(&api, "/status/shop.json").await.json();
    let told = page["maintenance"].as_array().unwrap();
    let told: Vec<_> = told.iter().map(|one| (&one["names"][0], &one["open"])).collect();
    // The tag of the second is not one of the page: its monitor is named instead.
    assert_eq!(told, [(&"alpha".into(), &true.into()), (&"shop".into(), &false.into())]);
    let html = ask(&api, "/status/shop").await.text;
    assert!(html.contains("Maintenance planned") && html.contains("2026-11-25 20:00 UTC"));
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_told_to_visitors_without_its_words() {
    let api = Api::on(Arc::new(Away)).await;
    configure(&api, SHOP);
    let page = ask(&api, "/status/shop").await;
    assert_eq!((page.status, page.header("cache-control")), (503, "no-store"));
    assert!(page.text.contains("cannot be shown now") && !page.text.contains("store"));
}

#[tokio::test]
async fn a_page_looks_right_in_light_dark_on_a_phone_and_without_javascript() {
    let api = Api::at(wall_millis, &scene::monitors(), &scene::samples()).await;
    configure(&api, &scene::pages());
    let base = api.serve().await;
    tokio::task::spawn_blocking(move || {
        let browser = Browser::start(&base);
        browser.scripts(false);
        browser.open("/status/example");
        browser.picture("status-light");
        browser.scripts(true);
        browser.open("/status/example");
        assert_eq!(browser.text(".overall h2"), "Something is down");
        let bars = "return document.querySelectorAll('article:first-of-type .days i').length";
        assert!(browser.run(bars).as_u64() >= Some(90));
        let label =
            browser.run("return document.querySelector('.days').getAttribute('aria-label')");
        assert!(label.as_str().unwrap().starts_with("Last 90 days: "), "{label}");
        browser.assert_clean("status page");
        browser.prefer("dark");
        browser.open("/status/example");
        browser.picture("status-dark");
        browser.prefer("light");
        browser.size(390, 844);
        browser.open("/status/example");
        let fits =
            browser.run("return document.documentElement.scrollWidth <= 390 && innerWidth === 390");
        assert_eq!(fits, true, "wider than a phone");
        browser.picture("status-phone");
        browser.size(1280, 900);
        browser.open("/status/nothing");
        browser.picture("status-none");
        browser.forget_log();
        for badge in ["example/status", "example/uptime", "Webmail/status", "1/response"] {
            browser.open(&format!("/badge/{badge}.svg"));
            let inside = "const box = (node) => node.getBBox();
                const [left, right] = document.querySelectorAll('rect[fill]');
                const [one, two] = document.querySelectorAll('text');
                return box(one).x >= 0 && box(one).x + box(one).width <= box(left).width
                    && box(two).x >= box(right).x
                    && box(two).x + box(two).width <= box(right).x + box(right).width";
            assert_eq!(browser.run(inside), true, "{badge}: a text is wider than its field");
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn hostile_names_on_a_public_page_are_text() {
    let words = crate::hostile::words();
    let (monitors, samples) = crate::hostile::fleet(&words);
    let api = Api::at(wall_millis, &monitors, &samples).await;
    configure(&api, "status_pages:\n  - slug: x\n    tags: [tag]\n    details: true\n");
    let base = api.serve().await;
    tokio::task::spawn_blocking(move || {
        let browser = Browser::start(&base);
        browser.open("/status/x");
        let shown = browser.run("return document.querySelectorAll('article').length");
        assert_eq!(shown, engine::limits::PAGE_ROWS_MAX);
        let names = "return [...document.querySelectorAll('article h3')]
            .every((name) => name.innerText.includes('window.__xss=1'))";
        assert_eq!(browser.run(names), true, "each name is shown as it is");
        browser.assert_clean("status page");
        for word in words.iter().filter(|word| word.len() <= 90).step_by(23) {
            let label: String = url::form_urlencoded::byte_serialize(word.as_bytes()).collect();
            browser.open(&format!("/badge/x/status.svg?label={label}"));
            browser.assert_clean(word);
        }
        browser.open("/status/x.atom");
        browser.assert_clean("feed");
    })
    .await
    .unwrap();
}
