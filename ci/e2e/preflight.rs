//! A host that is not fit: refused at the start, in one line with cause and remedy.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{fs, io};

use crate::harness::space::isolated;
use crate::harness::{BINARY, Engine, Said, ask, must_run, run, text};

const DEMO: [&str; 3] = ["--demo", "--listen", "127.0.0.1:0"];

/// A start that must be refused, with a wrapper before the binary.
fn refused(wrapper: &[&str], data_dir: &Path, args: &[&str]) -> Said {
    let all = [wrapper, &[BINARY, "start", "--data-dir", text(data_dir)], args].concat();
    let said = run(all[0], &all[1..]);
    assert_eq!(said.code, 78, "{all:?}: {said:?}");
    assert_eq!(said.out, "", "{said:?}");
    said
}

fn assert_told(said: &Said, told: &[&str]) {
    for text in told {
        assert!(said.err.contains(text), "no {text:?} in {said:?}");
    }
    let errors = said.err.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "one cause, one line: {said:?}");
}

#[test]
fn limits_that_are_too_low_are_named_with_their_remedy() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let memlock = [
        "setpriv",
        "--bounding-set=-ipc_lock",
        "--inh-caps=-ipc_lock",
        "prlimit",
        "--memlock=65536",
    ];
    assert_told(
        &refused(&memlock, &data, &DEMO),
        &["error: memlock: 64 KiB may be locked", "fix: raise LimitMEMLOCK", "ulimit -l"],
    );
    let few = refused(&["prlimit", "--nofile=64"], &data, &DEMO);
    assert_told(&few, &["error: nofile: 64 descriptors at most", "fix: raise LimitNOFILE"]);
    let cores = refused(&[], &data, &["--demo", "--cores=99"]);
    assert_told(&cores, &["error: --cores=99: this process may use ", "write 1 to "]);
    let level = refused(&[], &data, &["--demo", "--log-level", "engine=loud"]);
    assert_told(&level, &["error: --log-level engine=loud", "write error, warn, info"]);
    assert!(!data.join("engine.db").exists(), "a refused start makes no database");
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let place = tempfile::tempdir().unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let said = refused(&[], place.path(), &["--demo", "--listen", &taken]);
    let told = format!("error: cannot listen on {taken}: Address already in use");
    assert_told(&said, &[&told, "choose another address with --listen"]);
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let place = tempfile::tempdir().unwrap();
    let closed = place.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    let powerless = [
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-dac_override,-dac_read_search",
    ];
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let config = place.path().join("monitors.yaml");
    fs::write(&config, "monitors: []\n").unwrap();
    for args in [&DEMO[..], &["--listen", "127.0.0.1:0", "--config", text(&config)]] {
        for (wrapper, folder) in [(&powerless[..], &closed), (&[], &file)] {
            assert_told(&refused(wrapper, folder, args), &[text(folder), "--data-dir"]);
        }
    }
    isolated(move || {
        let mounted = tempfile::tempdir().unwrap();
        must_run("mount", &["-t", "tmpfs", "-o", "ro", "none", text(mounted.path())]);
        let args = ["--listen", "127.0.0.1:0", "--config", text(&config)];
        let said = refused(&[], mounted.path(), &args);
        assert_told(&said, &["read-only file system", text(mounted.path()), "--data-dir"]);
        must_run("umount", &[text(mounted.path())]);
    });
}

#[test]
fn a_second_engine_on_a_folder_is_told_who_holds_it() {
    let place = tempfile::tempdir().unwrap();
    let first = Engine::start(place.path(), &["--demo", "--cores", "1"]);
    let said = refused(&[], place.path(), &DEMO);
    assert_told(&said, &[&format!("pid {}", first.pid()), text(place.path())]);
    first.stop();
    let next = Engine::start(place.path(), &["--demo", "--cores", "1"]);
    next.stop();
}

#[test]
fn doctor_looks_at_everything_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let folder = text(place.path());
    let good = ask(&["doctor", "--json", "--data-dir", folder]);
    assert_eq!(good.code, 0, "{good:?}");
    let json = good.json();
    let findings = json.as_array().unwrap();
    let names = ["io_uring", "memlock", "nofile", "data", "icmp", "ports", "conntrack", "clock"];
    for name in names {
        let finding = findings.iter().find(|finding| finding["name"] == name);
        let finding = finding.unwrap_or_else(|| panic!("no {name}: {good:?}"));
        let level = finding["level"].as_str().unwrap();
        assert!(["ok", "warn"].contains(&level), "{finding}");
        let told = finding["fix"].as_str().unwrap().is_empty();
        assert_eq!(told, level == "ok", "what is wrong has a remedy: {finding}");
    }
    let shown = ask(&["doctor", "--data-dir", folder]);
    assert!(shown.code == 0 && shown.out.contains("the engine can start"), "{shown:?}");

    let bad = run("prlimit", &["--nofile=64", BINARY, "doctor", "--data-dir", folder]);
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.out.contains("FAIL  nofile"), "{bad:?}");
    assert!(bad.out.ends_with("the engine cannot start; failures: 1\n"), "{bad:?}");
    let cores = ask(&["doctor", "--cores", "999", "--data-dir", folder]);
    assert!(cores.code == 1 && cores.err.contains("--cores=999"), "{cores:?}");
    let left: io::Result<Vec<_>> = fs::read_dir(place.path()).unwrap().collect();
    assert!(left.unwrap().is_empty(), "doctor only looks");
}
