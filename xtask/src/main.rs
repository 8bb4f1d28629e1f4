//! `cargo xtask`: drives the plw binary. Knows processes, presets and records; knows no tensor, no
//! model, no row of data.

mod bench;
mod binary;
#[cfg(unix)]
mod chance;
mod check;
mod committed_result;
mod fixtures;
mod generated;
mod only;
mod parity;
mod peer;
mod preset;
mod pretrain;
mod pretrain_log;
mod process;
#[cfg(unix)]
mod process_tree;
mod progress;
mod read;
mod reproduce;
#[cfg(unix)]
mod same;
mod text_table;
#[cfg(unix)]
mod torture;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use process::Interrupted;
use workspace::Workspace;

/// Runs plw's experiments and checks.
#[derive(Debug, Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    version,
    max_term_width = 120
)]
enum Task {
    /// Runs an experiment: build, data, every run, report; then compares with the committed
    /// results.
    Reproduce(reproduce::Flags),
    /// Makes the model of assets/: tokenizer, configuration and pretrained weights.
    Pretrain(pretrain::Flags),
    /// Compares plw's losses, gradients and answers with PyTorch's, given a model and RACE.
    Parity(parity::Flags),
    /// Measures speed and memory next to PyTorch's, given a model and RACE, and each kernel next to
    /// its plain form.
    Bench(bench::Flags),
    /// Runs a check that needs a device or a service, and keeps its result.
    Check(check::Flags),
    /// Interrupts plw over and over, and checks that it ends with the same bits all the same.
    #[cfg(unix)]
    Torture(torture::Flags),
    /// Makes the golden values of tests anew with the committed Python scripts.
    Fixtures(fixtures::Flags),
}

/// Ends with 0 when done, 1 on an error, 2 on wrong arguments (clap), 130 when interrupted.
fn main() -> ExitCode {
    let task = Task::parse();
    let workspace = Workspace::find();
    let result = process::watch_signals().and_then(|()| match task {
        Task::Reproduce(flags) => reproduce::run(&workspace, &flags),
        Task::Pretrain(flags) => pretrain::run(&workspace, &flags),
        Task::Parity(flags) => parity::run(&workspace, &flags),
        Task::Bench(flags) => bench::run(&workspace, &flags),
        Task::Check(flags) => check::run(&workspace, &flags),
        #[cfg(unix)]
        Task::Torture(flags) => torture::run(&workspace, &flags),
        Task::Fixtures(flags) => fixtures::run(&workspace, &flags),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) if report.is::<Interrupted>() => {
            eprintln!("{report}");
            ExitCode::from(130)
        }
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}
