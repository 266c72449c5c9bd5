//! The command: reads the flags, does what is asked, leaves with the exit code.

use std::process::ExitCode;

use clap::Parser;
use engine::cli::args::{Args, Command, write_completions};
use engine::cli::style::Style;
use engine::cli::{check, exit, look, start};

fn main() -> ExitCode {
    let args = Args::parse();
    let style = Style::stdout(args.color);
    let code = match &args.command {
        Command::Start(start) => start::run(start, &style),
        Command::Check(check) => check::run(check, &style),
        Command::Validate(validate) => look::validate(validate),
        Command::Monitors(monitors) => look::monitors(monitors, &style),
        Command::Results(results) => look::results(results, &style),
        Command::Doctor(doctor) => look::doctor(doctor, &style),
        Command::Completions { shell } => {
            write_completions(*shell, &mut std::io::stdout());
            exit::OK
        }
    };
    ExitCode::from(code)
}
