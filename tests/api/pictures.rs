//! The pictures of the README: `ENGINE_PICTURES=contrib/pictures cargo test --test api pictures`.
//!
//! Without the variable they are made all the same, and written beside the other pictures.

use std::fs;
use std::path::PathBuf;

use engine::clock::wall_millis;

use crate::browser::Browser;
use crate::made::Api;
use crate::page::log_in;
use crate::scene;
use crate::status::configure;

/// Largest picture that is fit for a README, in bytes.
const BYTES_MAX: usize = 200_000;

#[tokio::test]
async fn the_pictures_of_the_readme_are_made_and_small() {
    let folder = std::env::var_os("ENGINE_PICTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("readme"), PathBuf::from);
    fs::create_dir_all(&folder).unwrap();
    let api = Api::at(wall_millis, &scene::monitors(), &scene::samples()).await;
    configure(&api, &scene::pages());
    let base = api.serve().await;
    tokio::task::spawn_blocking(move || {
        let browser = Browser::start(&base);
        let picture = |name: &str, height: u64| {
            let png = browser.png(height);
            assert!(png.len() < BYTES_MAX, "{name} has {} bytes", png.len());
            fs::write(folder.join(format!("{name}.png")), png).unwrap();
        };
        log_in(&browser);
        browser.size(1_160, 900);
        browser.open("/");
        assert_eq!(browser.text(".hero a .figure"), "1", "one is down");
        picture("overview", 720);
        browser.open("/monitors/2");
        assert!(browser.text(".title").contains("Checkout"));
        browser.click(".panel .chips button:nth-child(2)");
        browser.until(
            "a day is shown",
            "return document.querySelectorAll('.chart polyline').length >= 3",
        );
        picture("monitor", 980);
        browser.open("/status/example");
        assert_eq!(browser.text(".overall h2"), "Something is down");
        picture("status", 900);
        browser.assert_clean("pictures");
    })
    .await
    .unwrap();
}
