//! The rules, and the words of each violation.
//!
//! Owns: what may stand where. A rule looks at one file and at the order of modules; what it finds
//! it says with the line and with what to do. Exceptions are named here, with the rule.

use crate::source::{Source, is_name, item_end, places};

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 800;
/// Longest line, in columns.
const LINE_COLUMNS_MAX: usize = 100;
/// Longest function, signature included, in lines; tests may be longer.
const FUNCTION_LINES_MAX: usize = 70;

/// Something that breaks a rule.
#[derive(Debug)]
pub struct Violation {
    pub path: String,
    pub line: usize,
    pub text: String,
}

/// A word that may not stand in the code of some files.
struct Ban {
    word: &'static str,
    /// Where it is looked for: folders and files.
    within: &'static [&'static str],
    /// Where it is allowed all the same.
    but: &'static [&'static str],
    /// Looked for in tests too.
    in_tests: bool,
    remedy: &'static str,
}

const EVERYWHERE: &[&str] = &[""];
const PRODUCT: &[&str] = &["src/", "probes/src/"];
const ENGINE: &[&str] = &["src/"];
const PROBES: &[&str] = &["probes/src/"];
/// What runs on a shard gets the time as an argument or from its `Clock`.
const TIMELESS: &[&str] =
    &["src/sched/", "src/monitor/", "src/shard/", "src/net/", "src/metrics/", "src/config/"];

const GLOMMIO: &[&str] = &["src/net/", "src/shard/run.rs", "src/boot/"];
const TOKIO: &[&str] = &[
    "src/messages.rs",
    "src/pg/",
    "src/store/",
    "src/feed/",
    "src/alert/",
    "src/api/",
    "src/boot/",
    "src/control.rs",
    "src/farm/",
    "src/bench/database.rs",
];
const UNSAFE: &[&str] = &["src/net/ring.rs", "src/memory.rs"];
const CLOCK: &[&str] = &["src/clock.rs"];

const NO_IO: &str = "probes do no input or output and read no clock: take bytes and instants as \
                     arguments";
const NO_TIME: &str = "ask `clock`: it is the only file that asks the system for the time";
const UNFINISHED: &str = "finish it, or leave it out";
const NO_PANIC: &str = "handle it, or give the error to the caller; only tests may panic";
const NO_LINT: &str = "follow the lint instead of silencing it";

const BANS: &[Ban] = &[
    ban("glommio", ENGINE, GLOMMIO, "only `net`, `shard/run.rs` and `boot` know the executor"),
    ban("tokio", ENGINE, TOKIO, "tokio belongs to the control side: see TOKIO in ci/tidy/rules.rs"),
    ban("unsafe", EVERYWHERE, UNSAFE, "do it safely; `UNSAFE` names the files that may not"),
    ban("SqliteReader", &["src/api/"], &[], "ask `OpenReader`: the API knows no database by name"),
    ban("SystemTime::now", ENGINE, CLOCK, NO_TIME),
    ban("clock_gettime", ENGINE, CLOCK, NO_TIME),
    ban("Instant::now", TIMELESS, &[], "take the time as an argument, or ask `Clock`"),
    ban("Instant::now", PROBES, &[], NO_IO),
    ban("SystemTime", PROBES, &[], NO_IO),
    ban("TcpStream", PROBES, &[], NO_IO),
    ban("TcpListener", PROBES, &[], NO_IO),
    ban("UdpSocket", PROBES, &[], NO_IO),
    ban("std::fs", PROBES, &[], NO_IO),
    ban("std::thread", PROBES, &[], NO_IO),
    ban("glommio", PROBES, &[], NO_IO),
    ban("tokio", PROBES, &[], NO_IO),
    ban("nix", PROBES, &[], NO_IO),
    ban("socket2", PROBES, &[], NO_IO),
    ban(".unwrap()", PRODUCT, &[], NO_PANIC),
    ban(".expect(", PRODUCT, &[], NO_PANIC),
    everywhere("todo!", &[], UNFINISHED),
    everywhere("unimplemented!", &[], UNFINISHED),
    everywhere("dbg!", &[], UNFINISHED),
    everywhere("#[ignore", &[], "a test that cannot run fails and says what it lacks"),
    everywhere("[allow(", UNSAFE, NO_LINT),
    everywhere("#[expect(", &[], NO_LINT),
];

const fn ban(
    word: &'static str,
    within: &'static [&'static str],
    but: &'static [&'static str],
    remedy: &'static str,
) -> Ban {
    Ban { word, within, but, in_tests: false, remedy }
}

const fn everywhere(word: &'static str, but: &'static [&'static str], remedy: &'static str) -> Ban {
    Ban { word, within: EVERYWHERE, but, in_tests: true, remedy }
}

/// Pairs of modules that never meet but through `messages`: they run on different threads.
const STRANGERS: &[(&str, &str)] = &[
    ("store", "net"),
    ("store", "alert"),
    ("store", "shard"),
    ("store", "api"),
    ("alert", "store"),
    ("shard", "store"),
];

/// Folders of the machine a file was written on. Split, so that this file passes its own rule.
const MACHINE_PATHS: &[&str] =
    &[concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/tm", "p/")];
/// Where packages come from is a setting of the machine.
const REGISTRY_WORDS: &[&str] = &[
    concat!("replace", "-with"),
    concat!("[regist", "ries"),
    concat!("spar", "se+http"),
    concat!("de", "b http"),
];
/// Words that the glossary has another word for.
const WORDS: &[(&str, &str)] =
    &[("heartbeat", "check"), ("endpoint", "target"), ("notification", "notice")];

/// Everything in `source` that breaks a rule. `order` has the modules of `src/lib.rs`.
pub fn look(source: &Source, order: &[String]) -> Vec<Violation> {
    let mut found = Found { source, violations: Vec::new() };
    found.machine();
    if source.path.ends_with(".rs") {
        found.size();
        found.header();
        found.words();
        found.functions();
        found.safety();
        found.modules(order);
        BANS.iter().for_each(|ban| found.ban(ban));
    }
    found.violations
}

struct Found<'a> {
    source: &'a Source,
    violations: Vec<Violation>,
}

impl Found<'_> {
    fn add(&mut self, line: usize, text: impl Into<String>) {
        let path = self.source.path.clone();
        self.violations.push(Violation { path, line, text: text.into() });
    }

    fn ban(&mut self, ban: &Ban) {
        if !self.source.is_below(ban.within) || self.source.is_below(ban.but) {
            return;
        }
        for place in places(&self.source.code, ban.word) {
            let line = self.source.line_of(place);
            if ban.in_tests || !self.source.is_test_line(line) {
                self.add(line, format!("`{}` may not stand here: {}", ban.word, ban.remedy));
            }
        }
    }

    fn size(&mut self) {
        let source = self.source;
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            let text = format!("{lines} lines; {FILE_LINES_MAX} are allowed: split the file");
            self.add(lines, text);
        }
        for (line, text) in source.text.lines().enumerate() {
            let columns = text.chars().count();
            if columns > LINE_COLUMNS_MAX {
                let text = format!("{columns} columns; {LINE_COLUMNS_MAX} are allowed: break it");
                self.add(line + 1, text);
            }
        }
    }

    fn header(&mut self) {
        if self.source.is_below(PRODUCT) && !self.source.text.starts_with("//!") {
            self.add(1, "open with `//!`: what the file owns, leaves to others and costs");
        }
    }

    /// Words of the glossary, in what rustdoc shows; names between backquotes are not words.
    fn words(&mut self) {
        let source = self.source;
        for (line, text) in source.text.lines().enumerate() {
            let text = text.trim_start();
            if !source.is_below(PRODUCT) || !(text.starts_with("///") || text.starts_with("//!")) {
                continue;
            }
            let spoken: String = text.split('`').step_by(2).collect();
            for (word, instead) in WORDS {
                if spoken.to_lowercase().contains(word) {
                    self.add(line + 1, format!("the glossary says {instead} instead of {word}"));
                }
            }
        }
    }

    fn functions(&mut self) {
        let source = self.source;
        for place in places(&source.code, "fn") {
            let first = source.line_of(place);
            let named = source.code[place + 2..].trim_start().starts_with(is_name);
            if !named || source.is_test_line(first) {
                continue;
            }
            let lines = source.line_of(item_end(&source.code, place)) + 1 - first;
            if lines > FUNCTION_LINES_MAX {
                let text = format!("a function of {lines} lines; {FUNCTION_LINES_MAX} are allowed");
                self.add(first, format!("{text}: name its parts"));
            }
        }
    }

    /// Each `unsafe` has its reason in the comment right above it.
    fn safety(&mut self) {
        let source = self.source;
        let lines: Vec<&str> = source.text.lines().collect();
        for place in places(&source.code, "unsafe") {
            let line = source.line_of(place);
            let above = lines[..line - 1].iter().rev();
            let mut comment = above.take_while(|line| line.trim_start().starts_with("//"));
            if !comment.any(|line| line.contains("SAFETY:")) {
                self.add(line, "say above it, after `// SAFETY:`, why this is sound");
            }
        }
    }

    /// A module uses only those above it in `src/lib.rs`.
    fn modules(&mut self, order: &[String]) {
        let source = self.source;
        let Some(own) = module(&source.path) else { return };
        let Some(own_place) = order.iter().position(|name| name == own) else {
            return self.add(1, format!("`{own}` is not a module of src/lib.rs: name it there"));
        };
        for (place, used) in used_modules(&source.code) {
            let line = source.line_of(place);
            let used_place = order.iter().position(|name| *name == used);
            if used_place.is_some_and(|used_place| used_place > own_place) {
                let text = format!("`{own}` uses `{used}`, which stands below it in src/lib.rs");
                self.add(line, format!("{text}: turn the dependency round"));
            }
            if STRANGERS.contains(&(own, used.as_str())) {
                let text = format!("`{own}` uses `{used}`, which runs on another thread");
                self.add(line, format!("{text}: they meet only through `messages`"));
            }
        }
    }

    /// Nothing in the tree depends on the machine it was written on.
    fn machine(&mut self) {
        let source = self.source;
        if source.path.starts_with(".cargo/") {
            self.add(1, "cargo's settings belong to the machine, not to the tree");
        }
        for (line, text) in source.text.lines().enumerate() {
            for path in MACHINE_PATHS {
                let mut places = text.match_indices(path);
                let starts =
                    |at: usize| !text[..at].ends_with(|c| is_name(c) || ".-~/".contains(c));
                if places.any(|(at, _)| starts(at)) {
                    self.add(line + 1, format!("{path} is a folder of one machine: leave it out"));
                }
            }
            for word in REGISTRY_WORDS.iter().filter(|word| text.contains(**word)) {
                self.add(
                    line + 1,
                    format!("`{word}`: where packages come from is no part of this"),
                );
            }
        }
    }
}

/// The module of `src/lib.rs` that a file belongs to; none for `lib.rs`, `main.rs` and others.
fn module(path: &str) -> Option<&str> {
    let name = path.strip_prefix("src/")?.split('/').next()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    (!["lib", "main", "bin"].contains(&name)).then_some(name)
}

/// The names that follow `crate::`, in braces too, and where.
fn used_modules(code: &str) -> Vec<(usize, String)> {
    const ROOT: &str = "crate::";
    let mut used = Vec::new();
    for place in places(code, ROOT) {
        let rest = &code[place + ROOT.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.push((place, first_name(rest)));
            continue;
        };
        let mut depth = 0usize;
        let mut name_next = true;
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => name_next = true,
                _ if name_next && is_name(letter) => {
                    used.push((place, first_name(&group[at..])));
                    name_next = false;
                }
                _ => {}
            }
        }
    }
    used
}

fn first_name(text: &str) -> String {
    text.chars().take_while(|letter| is_name(*letter)).collect()
}
