//! The plw binary: arguments, configuration, logging, and calls into the crates.

mod activations;
mod allocator;
mod article;
mod commands;
mod complete_run;
mod device;
mod downloads;
mod examples;
mod failure;
mod file_size_limit;
mod flags;
mod inputs;
mod logging;
mod lora_settings;
mod model_folder;
mod output;
mod output_folder;
mod processes;
mod progress;
mod settings;
mod signals;
mod stopping;
mod threads;
mod tokenizer_files;

use std::io::Write;
use std::process::ExitCode;

use miette::Report;

use failure::Failure;
use flags::{Cli, Command};
use logging::{LogFlags, LogFormat};

/// Exits with 0 when done, 1 on an error, 2 on wrong arguments (clap) and 78 on settings that make
/// no sense or name files that cannot be used, and on damaged checkpoints and events. A run that
/// stopped at a checkpoint exits with 130 after Ctrl-C, 129 after the terminal's end, and with 75,
/// which asks for another try, after SIGTERM and SIGUSR1.
fn main() -> ExitCode {
    allocator::configure();
    file_size_limit::become_an_error();
    let cli = Cli::read();
    let started = logging::start(cli.log).map_err(Failure::never);
    match started.and_then(|()| run(&cli)) {
        Ok(code) => code,
        Err(failure) => {
            show(&failure::readable(&failure.report), cli.log);
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    for note in cli.notes() {
        tracing::warn!("{note}");
    }
    if !matches!(
        cli.command,
        Command::Sweep(_) | Command::Report(_) | Command::Train(_) | Command::Eval(_)
    ) {
        threads::start(1)?;
    }
    match &cli.command {
        Command::Train(flags) => commands::train::run(flags, cli.log),
        Command::Sweep(flags) => commands::sweep::run(flags, cli.log),
        Command::Eval(flags) => commands::eval::run(flags, cli.log),
        Command::Plan(flags) => commands::plan::run(flags),
        Command::Inspect(flags) => commands::inspect::run(flags),
        Command::Ratio(flags) => commands::ratio::run(flags),
        Command::Data(flags) => commands::data::run(flags),
        Command::Devices => Ok(commands::devices::run()?),
        Command::Report(flags) => commands::report::run(flags),
    }
}

fn show(report: &Report, log: LogFlags) {
    match log.log_format {
        // Standard error may have no reader left; the exit code remains.
        LogFormat::Human => drop(writeln!(std::io::stderr(), "{report:?}")),
        LogFormat::Json => tracing::error!("{}", failure::one_line(report)),
    }
}
