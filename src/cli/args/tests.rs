//! The flags as users type them, and every example of the help as a test.

use std::ffi::OsString;
use std::path::Path;

use super::*;

fn parse(line: &[&str]) -> Result<Args, clap::Error> {
    Args::try_parse_from([&["engine"], line].concat())
}

fn check(line: &[&str]) -> CheckArgs {
    match parse(&[&["check"], line].concat()).unwrap().command {
        Command::Check(check) => check,
        other => panic!("{other:?}"),
    }
}

/// The words of a command line; single quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_example_of_the_help_is_accepted() {
    let mut command = Args::command();
    command.build();
    let mut helps = vec![command.get_after_help().unwrap().to_string()];
    let shown = |sub: &&clap::Command| sub.get_name() != "help" && !sub.is_hide_set();
    for sub in command.get_subcommands().filter(shown) {
        let help = sub.get_after_help().unwrap_or_else(|| panic!("{} has no examples", sub));
        helps.push(help.to_string());
    }
    let lines = helps.iter().flat_map(|help| help.lines());
    let examples: Vec<_> = lines.filter(|line| line.starts_with("  engine ")).collect();
    assert!(examples.len() > 20, "{examples:#?}");
    for example in examples {
        let line = example.split("  #").next().unwrap().split(" > ").next().unwrap();
        if let Err(error) = Args::try_parse_from(words(line)) {
            panic!("{example}\n{error}");
        }
    }
}

#[test]
fn the_definition_of_all_flags_holds_together() {
    Args::command().debug_assert();
}

#[test]
fn a_check_guesses_its_type_by_the_target() {
    let guess = |line: &[&str]| {
        let args = check(line);
        let (kind, target) = args.kind_of(&args.targets[0]);
        (kind, target.to_owned())
    };
    let cases: &[(&[&str], Kind, &str)] = &[
        (&["https://a.example/"], Kind::PingWeb, "https://a.example/"),
        (&["http://a.example", "--contains", "x"], Kind::WebContent, "http://a.example"),
        (&["http://a.example", "--not-contains", "x"], Kind::WebContent, "http://a.example"),
        (&["tcp://a.example:22"], Kind::Tcp, "a.example:22"),
        (&["a.example:22"], Kind::Tcp, "a.example:22"),
        (&["[2001:db8::1]:22"], Kind::Tcp, "[2001:db8::1]:22"),
        (&["2001:db8::1"], Kind::PingIcmp, "2001:db8::1"),
        (&["a.example"], Kind::PingIcmp, "a.example"),
        (&["ping://192.0.2.1"], Kind::PingIcmp, "192.0.2.1"),
        (&["tls://a.example:443"], Kind::SslExpiredCheck, "a.example:443"),
        (&["a.example:443", "--type", "ssl_expired_check"], Kind::SslExpiredCheck, "a.example:443"),
        (&["tcp://a:1", "--type", "open_port_tcp_then_error"], Kind::OpenPortTcpThenError, "a:1"),
    ];
    for (line, kind, target) in cases {
        assert_eq!(guess(line), (*kind, (*target).to_owned()), "{line:?}");
    }
}

#[test]
fn values_out_of_bounds_are_usage_errors() {
    let lines: &[&[&str]] = &[
        &["check"],
        &["check", "a", "--timeout", "1ms"],
        &["check", "a", "--timeout", "1y"],
        &["check", "a", "--timeout", "-1s"],
        &["check", "a", "--status", "99"],
        &["check", "a", "--status", "300-200"],
        &["check", "a", "--status", "200-"],
        &["check", "a", "--type", "smtp"],
        &["check", "a", "--family", "5"],
        &["start", "--cores", "0"],
        &["start", "--cores", "1025"],
        &["start", "--max-in-flight", "0"],
        &["start", "--demo", "--config", "f.yaml"],
        &["start", "--listen", "8787"],
        &["start", "toast"],
        &["start", "--duration", "18446744073709551615d"],
        &["monitors", "--verdict", "broken"],
        &["results"],
        &["completions", "cmd"],
    ];
    for line in lines {
        let error = parse(line).expect_err(&line.join(" "));
        assert_eq!(error.exit_code(), i32::from(crate::cli::exit::USAGE), "{line:?}");
    }
}

#[test]
fn flags_that_may_be_repeated_keep_their_order() {
    let args = check(&["a", "b", "--status", "200", "--status", "300-399", "--contains", "x y"]);
    assert_eq!(args.targets, ["a", "b"]);
    assert_eq!(args.statuses, [(200, 200), (300, 399)]);
    assert_eq!(args.contains, ["x y"]);
    assert_eq!(args.timeout, Duration::from_secs(10));
    assert_eq!(Family::from(args.family), Family::Any);
}

#[test]
fn a_start_without_flags_leaves_everything_to_the_file() {
    let Command::Start(start) = parse(&["start"]).unwrap().command else { panic!("not a start") };
    assert_eq!((start.cores, start.listen, start.max_in_flight), (None, None, None));
    assert_eq!((start.data_dir, start.retention, start.log_format), (None, None, None));
    let help = Args::command().find_subcommand_mut("start").unwrap().render_long_help().to_string();
    assert!(help.contains(&format!("[default: {LISTEN_DEFAULT}]")), "{help}");
    let days = crate::limits::RESULTS_AGE_MS_DEFAULT / 86_400_000;
    assert!(help.contains(&format!("[default: {days}]")), "{help}");
    assert!(help.contains(&crate::limits::INFLIGHT_DEFAULT.to_string()), "{help}");
}

#[test]
fn times_are_read_with_their_unit() {
    let read = |text| parse_duration(text).map(|time| time.as_millis());
    assert_eq!(read("250ms"), Ok(250));
    assert_eq!(read("3"), Ok(3_000));
    assert_eq!(read("5m"), Ok(300_000));
    assert_eq!(read("7d"), Ok(604_800_000));
    for bad in ["", "s", "1.5s", "5 m", "5 minutes", "36501d", "99999999999999999999s"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_data_folder_is_the_first_that_is_named() {
    let env = |set: &'static [(&str, &str)]| {
        move |name: &str| {
            let pair = set.iter().find(|(known, _)| *known == name);
            pair.map(|(_, value)| PathBuf::from(value))
        }
    };
    let all = &[("STATE_DIRECTORY", "/var/lib/engine"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")];
    assert_eq!(data_dir(Some("d".into()), env(all)), Path::new("d"));
    assert_eq!(data_dir(None, env(all)), Path::new("/var/lib/engine"));
    assert_eq!(data_dir(None, env(&all[1..])), Path::new("/x/engine"));
    assert_eq!(data_dir(None, env(&all[2..])), Path::new("/h/.local/share/engine"));
    assert_eq!(data_dir(None, env(&[("HOME", "")])), Path::new("engine-data"));
}

#[test]
fn completions_name_every_command_and_type() {
    let mut script = Vec::new();
    write_completions(Shell::Bash, &mut script);
    let script = String::from_utf8(script).unwrap();
    for word in ["start", "check", "validate", "monitors", "results", "doctor", "ping_icmp"] {
        assert!(script.contains(word), "{word}");
    }
}

#[test]
fn commands_may_be_in_capitals_and_flags_of_the_original_may_stand_before_them() {
    let read = |line: &[&str]| {
        let words = [&["engine"], line].concat();
        Args::read(words.into_iter().map(OsString::from)).unwrap().command
    };
    let Command::Start(start) = read(&["--limit=5", "--test", "MANAGER", "--chunk=2-300"]) else {
        panic!("not a start")
    };
    assert_eq!((start.limit.as_deref(), start.chunk.as_deref()), (Some("5"), Some("2-300")));
    assert!(start.wants_test());
    let Command::Start(start) = read(&["start", "--data-dir", "test"]) else { panic!() };
    assert!(!start.wants_test());
    let Command::Start(start) = read(&["Start", "test", "--limit=1", "--limit=x"]) else {
        panic!()
    };
    assert!(start.wants_test());
    assert_eq!(start.limit.as_deref(), Some("x"));
    assert!(matches!(read(&["Performance"]), Command::Performance(_)));
    assert!(matches!(read(&["monitors", "--limit=5"]), Command::Monitors(_)));
}
