//! The preflight on trees and numbers made up for it, and on the limits of this process.

use std::fs;

use nix::errno::Errno;

use super::*;

/// A root with these files below it.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn refused(errno: Errno, files: &[(&str, &str)]) -> Finding {
    let root = tree(files);
    ring::finding(Err(errno.into()), &Tree { root: root.path() })
}

const SWITCH: &str = "proc/sys/kernel/io_uring_disabled";
const STATUS: &str = "proc/self/status";

#[test]
fn a_refused_ring_names_who_refuses_it() {
    let cases = [
        (Errno::ENOSYS, vec![], "has no io_uring"),
        (Errno::EPERM, vec![(SWITCH, "1\n")], "only CAP_SYS_ADMIN and one group"),
        (Errno::EPERM, vec![(SWITCH, "2\n")], "the administrator switched it off"),
        (Errno::EPERM, vec![(SWITCH, "0\n"), (STATUS, "Seccomp:\t2\n")], "a seccomp filter"),
        (Errno::EPERM, vec![(STATUS, "Seccomp:\t2\n")], "a seccomp filter"),
        (Errno::EPERM, vec![(SWITCH, "0"), (STATUS, "Seccomp:\t0\n")], "neither a sysctl"),
        (Errno::ENOMEM, vec![], "not enough lockable memory"),
        (Errno::EMFILE, vec![], "no descriptor is left"),
        (Errno::EINVAL, vec![], "io_uring_setup failed: Invalid argument"),
    ];
    for (errno, files, cause) in cases {
        let finding = refused(errno, &files);
        assert_eq!(finding.level, Level::Fail, "{finding:?}");
        assert!(finding.text.contains(cause), "{finding:?}");
        assert!(!finding.fix.is_empty(), "{finding:?}");
    }
}

#[test]
fn a_kernel_that_lacks_an_operation_is_named_with_it() {
    let root = tree(&[]);
    let tree = Tree { root: root.path() };
    let finding = ring::finding(Ok(vec!["CONNECT", "STATX"]), &tree);
    assert_eq!(finding.level, Level::Fail);
    assert!(finding.text.ends_with("CONNECT, STATX"), "{finding:?}");
}

#[test]
fn lockable_memory_is_judged_per_shard_and_by_the_right_to_lock() {
    let level = |kib: u64, may_lock, shards| memlock(kib * 1_024, may_lock, shards).level;
    assert_eq!(level(64, false, 1), Level::Fail);
    assert_eq!(level(64, true, 1), Level::Fail);
    assert_eq!(level(512, false, 1), Level::Ok);
    assert_eq!(level(512, false, 2), Level::Warn);
    assert_eq!(level(512, true, 2), Level::Ok);
}

#[test]
fn descriptors_bound_the_probes_in_flight() {
    assert_eq!(inflight_allowed(20_000, 2), (20_000 - 256 - 32) / 2);
    assert_eq!(inflight_allowed(256, 1), 0);
    assert_eq!(inflight_allowed(u64::MAX, 1), usize::MAX - 256 - 16);

    let data_dir = Path::new("data");
    let wanted = Wanted::new(2, data_dir);
    assert_eq!(descriptors((1_024, 64_000), &wanted).level, Level::Ok);
    let fewer = descriptors((1_024, 4_096), &wanted);
    assert_eq!(fewer.level, Level::Warn);
    assert!(fewer.text.contains("1904 probes in flight per shard instead of 8192"));
    assert!(fewer.fix.ends_with("to 16672"), "{}", fewer.fix);
    assert_eq!(descriptors((256, 256), &wanted).level, Level::Fail);
}

#[test]
fn icmp_needs_a_group_in_the_range_or_the_capability() {
    let range = |text: &str| Some(text.to_owned());
    let raw = 1 << CAP_NET_RAW;
    assert_eq!(icmp(range("0\t2147483647\n"), &[1_000], 0).level, Level::Ok);
    assert_eq!(icmp(range("100 200"), &[1_000, 150], 0).level, Level::Ok);
    assert_eq!(icmp(range("1\t0\n"), &[0, 1], raw).text, "raw sockets (CAP_NET_RAW)");
    assert_eq!(icmp(range("1\t0\n"), &[0, 1], 0).level, Level::Warn);
    assert_eq!(icmp(None, &[0], !raw).level, Level::Warn);
    assert_eq!(icmp(range("garbage"), &[0], 0).level, Level::Warn);
}

#[test]
fn narrow_kernel_tables_warn_with_the_setting_to_change() {
    let wanted = Wanted::new(1, Path::new("data"));
    assert_eq!(ports(Some("32768\t60999\n".into())).level, Level::Ok);
    assert_eq!(ports(Some("40000 40099".into())).level, Level::Warn);
    assert_eq!(ports(Some("60999 32768".into())).level, Level::Warn);
    assert_eq!(ports(None).level, Level::Warn);
    assert_eq!(conntrack(None, &wanted).level, Level::Ok);
    assert!(conntrack(Some(1_000), &wanted).fix.contains("nf_conntrack_max=32768"));
    assert_eq!(conntrack(Some(262_144), &wanted).level, Level::Ok);
    assert_eq!(time_wait(Some(100)).level, Level::Warn);
    assert_eq!(time_wait(None).level, Level::Ok);
}

#[test]
fn a_time_service_is_recognised_by_its_file() {
    let none = tree(&[]);
    assert_eq!(time_service(&Tree { root: none.path() }).level, Level::Warn);
    let chrony = tree(&[("run/chrony/chronyd.pid", "1")]);
    assert_eq!(time_service(&Tree { root: chrony.path() }).level, Level::Ok);
}

#[test]
fn a_data_folder_that_does_not_exist_is_judged_by_its_parent() {
    let root = tree(&[("file", "")]);
    let found = |name: &str| data_folder(&root.path().join(name));
    assert!(found("").text.ends_with("can be written"));
    assert!(found("new/deeper").text.ends_with("will be made"));
    assert_eq!(found("file").level, Level::Fail);
    assert_eq!(found("file/below").level, Level::Fail);
    assert_eq!(data_folder(Path::new("a-new-folder")).level, Level::Ok);
    // Nobody may write here, root neither.
    assert_eq!(data_folder(Path::new("/proc/sys")).level, Level::Fail);
}

#[test]
fn every_bad_finding_of_an_empty_tree_says_what_to_do() {
    let root = tree(&[]);
    let data_dir = root.path().join("data");
    let wanted = Wanted { root: root.path(), ..Wanted::new(1, &data_dir) };
    let findings = run(&wanted);
    for finding in &findings {
        assert_eq!(finding.fix.is_empty(), finding.level == Level::Ok, "{finding:?}");
    }
    let icmp = findings.iter().find(|finding| finding.name == "icmp").unwrap();
    assert_eq!(icmp.level, Level::Warn, "no range and no capabilities in this tree");
}

#[test]
fn the_soft_descriptor_limit_is_the_hard_one_after_raising() {
    let hard = raise_descriptor_limit().unwrap();
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
}
