//! The rules of the tree as a test: order of modules, who may name what, sizes, no leftovers.
//!
//! Owns: walking the tree, and a planted violation for each rule, so that a rule that no longer
//! sees anything fails. `rules` has the rules, `source` tells code from comments and strings.

mod rules;
mod source;

use std::fs;
use std::path::Path;

use rules::Violation;
use source::Source;

/// Folders that hold nothing written by hand.
const GENERATED: &[&str] = &[".git", "target", "corpus", "artifacts"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the tree.
fn tree() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let kind = entry.file_type().unwrap();
            if GENERATED.iter().any(|generated| name == *generated) {
                continue;
            } else if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file()
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                let path = entry.path();
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap();
                sources.push(Source::new(path, text));
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

/// The modules of `src/lib.rs`, in order.
fn order(lib: &str) -> Vec<String> {
    let names = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_string).collect()
}

fn shown(violations: &[Violation]) -> String {
    let line = |v: &Violation| format!("{}:{}: {}\n", v.path, v.line, v.text);
    violations.iter().map(line).collect()
}

#[test]
fn the_tree_keeps_its_rules() {
    let order = order(&fs::read_to_string(root().join("src/lib.rs")).unwrap());
    assert!(order.len() > 10, "the modules of src/lib.rs were not found: {order:?}");
    let sources = tree();
    let rust = sources.iter().filter(|source| source.path.ends_with(".rs")).count();
    assert!(rust > 100, "only {rust} Rust files were found");
    let violations: Vec<_> =
        sources.iter().flat_map(|source| rules::look(source, &order)).collect();
    assert!(violations.is_empty(), "{} violations\n{}", violations.len(), shown(&violations));
}

#[test]
fn the_table_in_the_head_of_lib_names_every_module_in_its_order() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | [`")?.split_once("`]"));
    let named: Vec<_> = rows.map(|(name, _)| name.to_string()).collect();
    assert_eq!(named, order(&lib));
}

/// What the rules say about `text` as the file at `path`.
fn said(path: &str, text: &str) -> String {
    let order = ["ids", "sched", "net", "store", "shard", "api", "boot"].map(str::to_string);
    shown(&rules::look(&Source::new(path, text.to_string()), &order))
}

#[test]
fn every_rule_sees_what_breaks_it() {
    let long_line = format!("//! x\n// {}\n", "x".repeat(98));
    let long_file = format!("//! x\n{}", "// x\n".repeat(800));
    let long_function = format!("//! x\nfn long() {{\n{}}}\n", "    x();\n".repeat(69));
    let planted: &[(&str, &str, &str)] = &[
        ("src/ids.rs", "//! x\nuse crate::sched::Wheel;\n", ":2: `ids` uses `sched`, which stands"),
        ("src/sched/a.rs", "//! x\nuse crate::{ids,\n    net::{x}};\n", ":2: `sched` uses `net`"),
        ("src/shard/mod.rs", "//! x\nfn a() { crate::store::b() }\n", ":2: `shard` uses `store`"),
        ("src/store/mod.rs", "//! x\nuse crate::net::x;\n", "runs on another thread"),
        ("src/lost.rs", "//! x\n", "`lost` is not a module of src/lib.rs"),
        ("src/shard/mod.rs", "//! x\nuse glommio::x;\n", ":2: `glommio` may not stand here"),
        ("src/net/a.rs", "//! x\nuse tokio::x;\n", "`tokio` may not stand here"),
        ("tests/a.rs", "//! x\nunsafe { x() }\n", "say above it"),
        ("src/net/a.rs", "//! x\n// SAFETY: x\nunsafe { x() }\n", "`unsafe` may not stand here"),
        ("src/net/ring.rs", "//! x\n// SAFETY: x\nlet a;\nunsafe { x() }\n", ":4: say above it"),
        ("src/net/a.rs", "//! x\nlet a = SystemTime::now();\n", "`SystemTime::now` may not"),
        ("src/shard/mod.rs", "//! x\nlet a = Instant::now();\n", "`Instant::now` may not"),
        ("probes/src/a.rs", "//! x\nlet a = Instant::now();\n", "probes do no input or output"),
        ("probes/src/a.rs", "//! x\nuse std::net::{IpAddr, TcpStream};\n", "`TcpStream` may not"),
        ("src/ids.rs", "//! x\nlet a = b.unwrap();\n", "only tests may panic"),
        ("src/ids.rs", "//! x\nlet a = b\n    .expect(\"c\");\n", ":3: `.expect(` may not"),
        ("tests/a.rs", "todo!()\n", "`todo!` may not stand here"),
        ("tests/a.rs", "dbg!(1);\n", "`dbg!` may not stand here"),
        ("tests/a.rs", "unimplemented!()\n", "`unimplemented!` may not stand here"),
        ("tests/a.rs", "#[test]\n#[ignore = \"slow\"]\n", ":2: `#[ignore` may not stand here"),
        ("tests/a.rs", "#![allow(dead_code)]\n", "`[allow(` may not stand here"),
        ("src/ids.rs", "//! x\n#[expect(dead_code)]\n", "`#[expect(` may not stand here"),
        ("src/ids.rs", "use x;\n", ":1: open with `//!`"),
        ("src/ids.rs", "//! Sends a heartbeat.\n", ":1: the glossary says check"),
        ("src/ids.rs", &long_line, ":2: 101 columns"),
        ("src/ids.rs", &long_file, ":801: 801 lines"),
        ("src/ids.rs", &long_function, ":2: a function of 71 lines"),
        ("README.md", concat!("see /ho", "me/me/x\n"), "is a folder of one machine"),
        ("ci/x.sh", concat!("x=\"/tm", "p/x\"\n"), "is a folder of one machine"),
        (".cargo/config.toml", "", "cargo's settings belong to the machine"),
        ("Cargo.toml", concat!("replace", "-with = \"x\"\n"), "where packages come from"),
    ];
    for (path, text, wanted) in planted {
        let said = said(path, text);
        assert!(said.contains(wanted), "{path}\n{text}\nsaid: {said}\nwanted: {wanted}");
    }
}

#[test]
fn what_is_allowed_is_not_complained_about() {
    let kept: &[(&str, &str)] = &[
        ("src/shard/run.rs", "//! x\nuse crate::{ids::A, net::{self, store}};\nuse glommio::x;\n"),
        ("src/main.rs", "//! x\nuse crate::boot;\n"),
        ("src/net/ring.rs", "//! x\n// SAFETY: a\n// b\nunsafe { x() }\n"),
        ("src/ids.rs", "//! x\n#![deny(unsafe_code)]\n// tokio, todo!(), a.unwrap()\n"),
        ("src/ids.rs", "//! x\nlet a = (\"todo!() // \\\" dbg!\", r#\"\"unsafe\"#, '\"');\n"),
        ("src/ids.rs", "//! x\nfn a<'a>(b: &'a str) { /* /* dbg!() */ todo!() */ }\n"),
        ("src/ids.rs", "//! x\na();\n#[cfg(test)]\nmod tests {\n    a.unwrap();\n}\n"),
        ("src/ids.rs", "//! x\n#[cfg(test)]\nfn a(b: [u8; 2]) {\n    b.unwrap();\n}\n"),
        ("src/net/echo/tests.rs", "//! x\nlet a = b.unwrap();\nlet c = Instant::now();\n"),
        ("src/ids.rs", "//! The original's table `heartbeat`.\n"),
        ("README.md", "https://example.com/work/x ~/.local\n"),
    ];
    for (path, text) in kept {
        assert_eq!(said(path, text), "", "{path}\n{text}");
    }
}

#[test]
fn a_violation_after_a_test_module_is_still_seen() {
    let text = "//! x\n#[cfg(test)]\nmod tests {\n    a.unwrap();\n}\nfn b() { a.unwrap() }\n";
    assert!(said("src/ids.rs", text).starts_with("src/ids.rs:6: "));
}
