//! How fast the machine multiplies matrices just now: the example `gemm_peak` of plw-kernels.

use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{IntoDiagnostic, Result, WrapErr};
use serde::{Deserialize, Serialize};

use crate::binary::cargo;
use crate::peer::environment::without_settings;
use crate::process;
use crate::workspace::Workspace;

/// Speed of one large matrix product in f32 on all threads, just before and just after a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct GemmPeak {
    pub(super) before: GemmSpeed,
    pub(super) after: GemmSpeed,
}

impl GemmPeak {
    /// The machine can do what it did once.
    pub(super) fn gflops(&self) -> f64 {
        self.before.gflops.max(self.after.gflops)
    }
}

/// What the example prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct GemmSpeed {
    pub(super) rows: usize,
    pub(super) inner: usize,
    pub(super) columns: usize,
    pub(super) threads: usize,
    pub(super) repetitions: usize,
    /// The best repetition's.
    pub(super) seconds: f64,
    /// The best repetition's, in 10^9 operations a second.
    pub(super) gflops: f64,
}

/// Builds the example, and says where it is: beside the plw binary.
pub(super) fn build(workspace: &Workspace, plw: &Path) -> Result<PathBuf> {
    let mut build = cargo(workspace);
    build.args(["build", "--release", "--locked", "--example", "gemm_peak"]);
    process::run(&mut build, "fix what the compiler reports above")?;
    let name = format!("gemm_peak{}", std::env::consts::EXE_SUFFIX);
    Ok(plw.with_file_name("examples").join(name))
}

/// Runs something between two runs of the example.
pub(super) fn beside<T>(example: &Path, run: impl FnOnce() -> Result<T>) -> Result<(T, GemmPeak)> {
    let before = measure(example)?;
    let done = run()?;
    let after = measure(example)?;
    Ok((done, GemmPeak { before, after }))
}

fn measure(example: &Path) -> Result<GemmSpeed> {
    let printed = process::output(without_settings(&mut Command::new(example)))?;
    serde_json::from_str(&printed)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} printed {printed:?}", example.display()))
}

/// A speed for tests.
#[cfg(test)]
pub(super) fn peak_of(gflops: f64) -> GemmPeak {
    let speed = GemmSpeed {
        rows: 1,
        inner: 1,
        columns: 1,
        threads: 1,
        repetitions: 1,
        seconds: 1.0,
        gflops,
    };
    GemmPeak {
        before: speed.clone(),
        after: speed,
    }
}
