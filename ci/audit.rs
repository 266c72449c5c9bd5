//! What the packages we build on may be: their sources, versions and licences.
//!
//! Owns: the rules. `ci/advisories.txt` is the data. Versions and sources are read from
//! `Cargo.lock`, so packages for other platforms count too; licences from `cargo metadata`, for
//! what is built here. Reads no network.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The only place packages come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// Licences (SPDX) that ask for no more than to be named.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
/// Crates with another licence, and why it is fine. MPL-2.0 binds changed files only.
const LICENCES_ACCEPTED: &[(&str, &str)] = &[("bitmaps", "MPL-2.0+")];
/// Crates of which two versions at once would be a fault: two sets of keys, two sets of rules.
const ONE_VERSION: &[&str] = &["ring", "rustls", "rustls-webpki"];

#[derive(Clone, Debug, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
    /// `None` for the members of the workspace.
    source: Option<String>,
}

struct Advisory {
    name: String,
    /// `None` where every version is bad.
    fixed: Option<String>,
    id: String,
    note: String,
}

struct Advisories {
    all: Vec<Advisory>,
    /// Crate and advisory.
    accepted: Vec<(String, String)>,
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The packages of a lock file.
fn packages(lock: &str) -> Vec<Package> {
    let field = |block: &str, key: &str| {
        let mut lines = block.lines();
        let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(value.trim_matches('"').to_string())
    };
    let blocks = lock.split("[[package]]\n").skip(1);
    let package = |block| Package {
        name: field(block, "name").unwrap(),
        version: field(block, "version").unwrap(),
        source: field(block, "source"),
    };
    blocks.map(package).collect()
}

fn advisories(text: &str) -> Advisories {
    let mut read = Advisories { all: Vec::new(), accepted: Vec::new() };
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let &[first, second, id, note] = fields.as_slice() else { panic!("four fields: {line}") };
        assert!(!note.is_empty(), "a reason is wanted: {line}");
        if first == "accept" {
            read.accepted.push((second.to_string(), id.to_string()));
        } else {
            read.all.push(Advisory {
                name: first.to_string(),
                fixed: (second != "never").then(|| second.to_string()),
                id: id.to_string(),
                note: note.to_string(),
            });
        }
    }
    read
}

/// Compares by the numbers of `a.b.c`; what follows a `-` or `+` does not count.
fn by_number(one: &str, other: &str) -> Ordering {
    let numbers = |version: &str| -> Vec<u64> {
        let plain = version.split(['-', '+']).next().unwrap();
        plain.split('.').map(|number| number.parse().unwrap()).collect()
    };
    numbers(one).cmp(&numbers(other))
}

/// What of `packages` the table forbids.
fn forbidden(packages: &[Package], table: &Advisories) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        for advisory in table.all.iter().filter(|advisory| advisory.name == package.name) {
            let fixed = advisory.fixed.as_deref();
            let is_fixed =
                fixed.is_some_and(|fixed| by_number(&package.version, fixed) != Ordering::Less);
            let key = (advisory.name.clone(), advisory.id.clone());
            if is_fixed || table.accepted.contains(&key) {
                continue;
            }
            let remedy = match fixed {
                Some(fixed) => format!("cargo update -p {} to {fixed} or newer", package.name),
                None => "do without it".to_string(),
            };
            let Package { name, version, .. } = package;
            found.push(format!("{name} {version}: {} ({}): {remedy}", advisory.note, advisory.id));
        }
    }
    found
}

/// True where `expression` (SPDX, or the older form with `/` for OR) can be met by [`LICENCES`].
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let allowed = any_of(&words, &mut at);
    allowed && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = all_of(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= all_of(words, at);
    }
    allowed
}

fn all_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one(words, at);
    }
    allowed
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let allowed = any_of(words, at);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return allowed && closed;
    }
    if words.get(*at) == Some(&"WITH") && words.len() > *at + 1 {
        let with = format!("{word} WITH {}", words[*at + 1]);
        *at += 2;
        return LICENCES.contains(&with.as_str());
    }
    LICENCES.contains(word)
}

/// Name and licence of each package that is built on this platform.
fn licences() -> Vec<(String, String)> {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&metadata.stderr);
    assert!(metadata.status.success(), "cargo metadata: {why}\nfix: cargo fetch --locked");
    let json: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = json["packages"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    packages.iter().map(|package| (text(&package["name"]), text(&package["license"]))).collect()
}

#[test]
fn every_package_comes_from_the_registry_and_the_workspace_has_three_members() {
    let packages = packages(&read("Cargo.lock"));
    assert!(packages.len() > 100, "only {} packages were found in Cargo.lock", packages.len());
    let (local, foreign): (Vec<_>, Vec<_>) =
        packages.iter().partition(|package| package.source.is_none());
    let local: Vec<_> = local.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(local, ["cluster", "engine", "probes"]);
    let elsewhere: Vec<_> =
        foreign.iter().filter(|package| package.source.as_deref() != Some(REGISTRY)).collect();
    assert!(elsewhere.is_empty(), "not from the registry: {elsewhere:#?}");
}

#[test]
fn no_package_is_known_to_be_bad() {
    for lock in ["Cargo.lock", "probes/fuzz/Cargo.lock"] {
        let found = forbidden(&packages(&read(lock)), &advisories(&read("ci/advisories.txt")));
        assert!(found.is_empty(), "{lock}:\n{}", found.join("\n"));
    }
}

#[test]
fn every_accepted_finding_is_still_there() {
    let packages = packages(&read("Cargo.lock"));
    let mut table = advisories(&read("ci/advisories.txt"));
    let accepted = std::mem::take(&mut table.accepted);
    let found = forbidden(&packages, &table);
    for (name, id) in accepted {
        let there =
            found.iter().any(|line| line.starts_with(&format!("{name} ")) && line.contains(&id));
        assert!(there, "{name} {id} is accepted and not found: strike it from the table");
    }
}

#[test]
fn of_tls_and_its_provider_there_is_one_version_each() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages(&read("Cargo.lock")) {
        versions.entry(package.name).or_default().push(package.version);
    }
    for name in ONE_VERSION {
        assert_eq!(versions[*name].len(), 1, "{name}: {:?}", versions[*name]);
    }
}

#[test]
fn every_licence_asks_for_no_more_than_to_be_named() {
    let licences = licences();
    assert!(licences.len() > 100, "cargo metadata names only {} packages", licences.len());
    let accepted = |(name, licence): &&(String, String)| {
        !LICENCES_ACCEPTED.contains(&(name.as_str(), licence.as_str()))
    };
    let bad: Vec<_> =
        licences.iter().filter(accepted).filter(|(_, licence)| !is_allowed(licence)).collect();
    assert!(bad.is_empty(), "licences that are not in LICENCES of ci/audit.rs: {bad:#?}");
}

#[test]
fn a_version_below_the_fix_is_found_and_the_fix_is_not() {
    let table =
        advisories("x | 1.10.0 | A-1 | hole\ny | never | A-2 | dead\ny | never | A-3 | off\n");
    let found = |name: &str, version: &str, table: &Advisories| {
        let package =
            Package { name: name.to_string(), version: version.to_string(), source: None };
        forbidden(&[package], table)
    };
    assert_eq!(
        found("x", "1.9.9", &table),
        ["x 1.9.9: hole (A-1): cargo update -p x to 1.10.0 or newer"]
    );
    assert!(found("x", "1.10.0", &table).is_empty() && found("x", "2.0.0+1", &table).is_empty());
    assert_eq!(found("y", "3.2.1", &table).len(), 2);
    let accepted = advisories(
        "y | never | A-2 | dead\ny | never | A-3 | off\naccept | y | A-2 | never called\n",
    );
    assert_eq!(found("y", "3.2.1", &accepted), ["y 3.2.1: off (A-3): do without it"]);
}

#[test]
fn licence_expressions_are_read_as_spdx_does() {
    for allowed in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        "GPL-2.0 AND MIT OR ISC",
    ] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "MIT AND (ISC OR GPL-3.0",
        "GPL-3.0 WITH LLVM-exception",
        "ISC AND GPL-2.0 OR GPL-3.0",
        "MIT)",
    ] {
        assert!(!is_allowed(refused), "{refused}");
    }
}
