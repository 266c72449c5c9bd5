//! The command: reads the flags, does what is asked, leaves with the exit code.

use std::process::ExitCode;

use clap::CommandFactory;
use engine::cli::args::{Args, Command, write_completions};
use engine::cli::style::Style;
use engine::cli::{
    alerting, bench, check, config_cmd, exit, hist, import, look, remote, start, tail, token, top,
    trial,
};

fn main() -> ExitCode {
    if std::env::args_os().len() < 2 {
        // Help is what the original gives to whoever asks for nothing.
        println!("{}", Args::command().render_long_help());
        return ExitCode::from(exit::OK);
    }
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let style = Style::stdout(args.color);
    let code = match &args.command {
        Command::Start(start) => start::run(start, &style),
        Command::Config(config) => config_cmd::run(config, &style),
        Command::Test(start) => trial::test(start, &style),
        Command::Performance(start) => trial::performance(start),
        Command::Status(start) => remote::status(start),
        Command::Stop(start) => remote::stop(start),
        Command::Check(check) => check::run(check, &style),
        Command::Validate(validate) => look::validate(validate),
        Command::Monitors(monitors) => look::monitors(monitors, &style),
        Command::Results(results) => look::results(results, &style),
        Command::Incidents(incidents) => look::incidents(incidents, &style),
        Command::Token(args) => token::run(args, &style),
        Command::Alert(alert) => alerting::run(alert, &style),
        Command::Import(args) => import::run(args, &style),
        Command::Top(args) => top::run(args),
        Command::Tail(args) => tail::run(args, &style),
        Command::Hist(args) => hist::run(args, &style),
        Command::Doctor(doctor) => look::doctor(doctor, &style),
        Command::Bench(args) => bench::run(args, &style),
        Command::BenchFarm(args) => bench::serve_targets(args),
        Command::Completions { shell } => {
            write_completions(*shell, &mut std::io::stdout());
            exit::OK
        }
    };
    ExitCode::from(code)
}
