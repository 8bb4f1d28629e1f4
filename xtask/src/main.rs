//! `cargo xtask`: drives the plw binary. Knows processes, presets and records; knows no tensor, no model, no row of data.

mod bench;
mod binary;
mod committed_result;
mod fixtures;
mod generated;
mod parity;
mod preset;
mod pretrain;
mod pretrain_log;
mod process;
mod read;
mod reproduce;
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
    /// Does an experiment: data, build, every run, report; and compares with the results that are committed.
    Reproduce(reproduce::Flags),
    /// Makes the embedded default in assets/: tokenizer, configuration and a small pretrained model.
    Pretrain(pretrain::Flags),
    /// Compares plw with PyTorch, transformers and peft on real data (needs ../shared, or PLW_SHARED).
    Parity(parity::Flags),
    /// Measures speed and memory next to PyTorch's (with ../shared, or PLW_SHARED), and kernels next to their plain forms.
    Bench(bench::Flags),
    /// Makes the golden test fixtures again with the committed Python scripts.
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
