//! Help, completions and colours.

use crate::harness::{BINARY, Said, ask, command};

const COMMANDS: [&str; 8] =
    ["start", "check", "validate", "monitors", "results", "doctor", "bench", "completions"];

#[test]
fn the_help_of_every_command_has_an_example_and_the_completions_name_it() {
    let all = ask(&["--help"]);
    assert_eq!(all.code, 0);
    for name in COMMANDS {
        assert!(all.out.contains(name), "{all:?}");
        let help = ask(&[name, "--help"]);
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{help:?}");
        assert!(help.out.contains("Examples:\n  engine "), "{help:?}");
        assert!(help.out.contains(&format!("  engine {name}")), "{help:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = ask(&["completions", shell]);
        assert_eq!(script.code, 0, "{script:?}");
        for name in COMMANDS {
            assert!(script.out.contains(name), "{shell}: no {name}");
        }
    }
    assert_eq!(ask(&["completions", "cmd"]).code, 2);
}

#[test]
fn without_arguments_the_way_to_begin_is_told() {
    let nothing = ask(&[]);
    assert_eq!(nothing.code, 0, "{nothing:?}");
    assert!(nothing.out.contains("engine start --demo"), "{nothing:?}");
    let start = ask(&["start"]);
    assert_eq!(start.code, 78, "{start:?}");
    for told in ["--config FILE", "examples/monitors.yaml", "engine start --demo"] {
        assert!(start.err.contains(told), "{start:?}");
    }
    let version = ask(&["--version"]);
    assert_eq!(version.out, format!("engine {}\n", env!("CARGO_PKG_VERSION")));
    let typo = ask(&["chekc"]);
    assert!(typo.code == 2 && typo.err.contains("check"), "{typo:?}");
}

#[test]
fn colours_are_only_where_they_are_asked_for() {
    // A closed port on loopback: the answer is there at once, and coloured where colours are on.
    let colored = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = command(BINARY);
        command.args(["check", "127.0.0.1"]).args(args).envs(env.iter().copied());
        let said = Said::from(command.output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
        said.out.contains('\x1b')
    };
    assert!(!colored(&[], &[]), "the output goes to no terminal");
    assert!(colored(&["--color", "always"], &[]));
    assert!(colored(&[], &[("CLICOLOR_FORCE", "1")]));
    assert!(!colored(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!colored(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
}
