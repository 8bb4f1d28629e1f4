//! The plw binary: arguments, configuration, logging, and calls into the crates.

mod allocator;
mod commands;
mod device;
mod examples;
mod failure;
mod file_size_limit;
mod flags;
mod inputs;
mod logging;
mod lora_settings;
mod progress;
mod settings;
mod tokenizer_files;

use std::process::ExitCode;

use flags::{Cli, Command};
use logging::LogFormat;

/// Exits with 0 when done, 1 on an error, 2 on wrong arguments (clap), and 130 when stopped at a
/// checkpoint.
fn main() -> ExitCode {
    allocator::configure();
    file_size_limit::become_an_error();
    let cli = Cli::read();
    logging::start(cli.log_format, cli.quiet);
    let result = match cli.command {
        Command::Train(flags) => commands::train::run(&flags),
        Command::Plan(flags) => commands::plan::run(&flags),
        Command::Eval(flags) => commands::eval::run(&flags),
        Command::Inspect(flags) => commands::inspect::run(&flags),
        Command::Sweep(flags) => commands::sweep::run(&flags),
        Command::Data(flags) => commands::data::run(&flags),
        Command::Report(flags) => commands::report::run(&flags),
    };
    match result {
        Ok(code) => code,
        Err(report) => {
            let report = failure::without_repetition(report);
            match cli.log_format {
                LogFormat::Human => eprintln!("{report:?}"),
                LogFormat::Json => tracing::error!("{}", logging::one_line(&report)),
            }
            ExitCode::FAILURE
        }
    }
}
