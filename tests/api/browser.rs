//! A headless Chromium, driven over the WebDriver protocol (W3C) by chromedriver.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Longest wait for anything on a page.
const WAIT: Duration = Duration::from_secs(30);

/// What every page runs before its own scripts: remembers what the policy refused.
const WATCH: &str = "window.__refused = []; document.addEventListener('securitypolicyviolation', \
    (event) => window.__refused.push(event.violatedDirective + ' ' + event.blockedURI));";

pub struct Browser {
    driver: Child,
    session: String,
    base: String,
}

impl Browser {
    /// A browser with one window; addresses are below `base`.
    pub fn start(base: &str) -> Browser {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is not installed: apt-get install chromium chromium-driver");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let mut ports = lines.map_while(Result::ok).filter_map(|line| {
            line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        let port: u16 = ports.next().expect("chromedriver did not start");
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let root = format!("http://127.0.0.1:{port}/session");
        let answer = send(&root, &wanted);
        let session = format!("{root}/{}", answer["sessionId"].as_str().unwrap());
        let browser = Browser { driver, session, base: base.to_owned() };
        browser.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": WATCH }));
        browser.devtools("Emulation.setScrollbarsHidden", &json!({ "hidden": true }));
        browser.size(1280, 900);
        browser
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let wanted = json!({ "cmd": command, "params": parameters });
        send(&format!("{}/goog/cdp/execute", self.session), &wanted)
    }

    /// Opens an address and waits until its page is drawn.
    pub fn open(&self, path: &str) {
        let url = format!("{}{path}", self.base);
        send(&format!("{}/url", self.session), &json!({ "url": url }));
        self.until(
            "the page is drawn",
            "const main = document.getElementById('main');
            return !main || (main.children.length > 0 && !main.hasAttribute('aria-busy'))",
        );
    }

    /// What a script returns.
    pub fn run(&self, script: &str) -> Value {
        let wanted = json!({ "script": script, "args": [] });
        send(&format!("{}/execute/sync", self.session), &wanted)
    }

    /// Waits until a script returns true.
    pub fn until(&self, what: &str, script: &str) {
        let deadline = Instant::now() + WAIT;
        while self.run(script) != Value::Bool(true) {
            let text = self.run("return document.body.innerText.slice(0, 2000)");
            assert!(Instant::now() < deadline, "not within {WAIT:?}: {what}; the page: {text}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Types into what has the focus; `\u{e004}` is Tab, `\u{e007}` Enter.
    pub fn keys(&self, keys: &str) {
        let keys = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        });
        let keys: Vec<Value> = keys.collect();
        let wanted = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] });
        send(&format!("{}/actions", self.session), &wanted);
    }

    /// Clicks the first element that a selector finds.
    pub fn click(&self, selector: &str) {
        let selector = json!(selector);
        let done = self.run(&format!(
            "const node = document.querySelector({selector}); node?.click(); return node !== null"
        ));
        assert_eq!(done, true, "nothing is at {selector}");
    }

    /// The text of the first element that a selector finds.
    pub fn text(&self, selector: &str) -> String {
        let selector = json!(selector);
        let text = self.run(&format!("return document.querySelector({selector})?.innerText ?? ''"));
        text.as_str().unwrap().to_owned()
    }

    /// Sets the size of the window's content, in CSS pixels.
    pub fn size(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Whether pages that are opened from now on may run scripts.
    pub fn scripts(&self, on: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": !on }));
    }

    /// What the system says about light and dark.
    pub fn prefer(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
    }

    /// Writes a picture of the whole page to the folder of the tests' pictures.
    pub fn picture(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), self.png(4_000)).unwrap();
    }

    /// A picture of the page down to this many CSS pixels.
    pub fn png(&self, height_max: u64) -> Vec<u8> {
        let height = self.run("return document.documentElement.scrollHeight").as_u64().unwrap();
        let width = self.run("return innerWidth").as_u64().unwrap() as u32;
        self.size(width, height.clamp(600, height_max) as u32);
        let wanted = json!({ "format": "png" });
        let answer = self.devtools("Page.captureScreenshot", &wanted);
        let bytes = STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        self.size(width, 900);
        bytes
    }

    /// Forgets the log: what is in it was wanted.
    pub fn forget_log(&self) {
        send(&format!("{}/se/log", self.session), &json!({ "type": "browser" }));
    }

    /// Nothing was refused by the policy, nothing ran that should not, no script failed.
    pub fn assert_clean(&self, what: &str) {
        let refused = self.run("return window.__refused");
        assert_eq!(refused, json!([]), "{what}: the policy refused something");
        assert_eq!(self.run("return window.__xss ?? null"), Value::Null, "{what}: a script ran");
        let log = send(&format!("{}/se/log", self.session), &json!({ "type": "browser" }));
        let severe = |entry: &&Value| entry["level"] == "SEVERE";
        let severe: Vec<&Value> = log.as_array().unwrap().iter().filter(severe).collect();
        assert!(severe.is_empty(), "{what}: {severe:?}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let agent = ureq::agent();
        let _ = agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn send(url: &str, body: &Value) -> Value {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.post(url).send_json(body).unwrap();
    let value: Value = answer.body_mut().read_json().unwrap();
    assert!(answer.status().is_success(), "{url}: {value}");
    value["value"].clone()
}
