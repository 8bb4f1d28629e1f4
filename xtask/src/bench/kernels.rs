//! Each kernel against its plain form: the benchmark `kernels` of plw-kernels.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr};
use serde::{Deserialize, Serialize};

use crate::binary::cargo;
use crate::peer::environment::without_settings;
use crate::peer::scratch::{Scratch, remove};
use crate::process;
use crate::read::read_json;
use crate::workspace::Workspace;

/// A kernel's two forms, as its benchmark names them.
const FORMS: [&str; 2] = ["fused", "plain"];

/// A kernel in one pass direction, against its plain form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KernelFigure {
    pub(super) kernel: String,
    pub(super) pass: String,
    /// Criterion's median.
    pub(super) fused_seconds: f64,
    /// Criterion's median of the plain Burn operations.
    pub(super) plain_seconds: f64,
    /// How many times as long the plain form takes.
    pub(super) ratio: f64,
}

/// Builds the kernels' benchmark: before anything is measured, so that the measuring is
/// undisturbed.
pub(super) fn build(workspace: &Workspace) -> Result<()> {
    let mut build = cargo(workspace);
    build.args(BENCH).arg("--no-run");
    process::run(&mut build, "fix what the compiler reports above")
}

/// Its profile inherits release's and changes nothing, so that it shares release's artifacts.
const BENCH: [&str; 4] = ["bench", "--locked", "--bench", "kernels"];

/// Runs it and reads what criterion estimates.
pub(super) fn measure(workspace: &Workspace, scratch: &Scratch) -> Result<Vec<KernelFigure>> {
    // A folder of its own: nothing of an earlier run is read, and nobody's baselines are touched.
    let criterion = scratch.path("criterion");
    remove(&criterion)?;
    let mut bench = cargo(workspace);
    // Nobody looks at the plots of the first run of all.
    bench.args(BENCH).args(["--", "--noplot"]);
    bench.env("CRITERION_HOME", &criterion);
    without_settings(&mut bench);
    process::run_logged(&mut bench, &scratch.log("kernels"))?;
    read_estimates(&criterion)
}

/// Reads `KERNEL/PASS/FORM/new/estimates.json`; criterion's own report folders have no such thing.
fn read_estimates(criterion: &Path) -> Result<Vec<KernelFigure>> {
    let mut figures = Vec::new();
    for kernel in folders(criterion)? {
        for pass in folders(&criterion.join(&kernel))? {
            let of_form = |form: &str| -> Result<Option<f64>> {
                let path = criterion
                    .join(&kernel)
                    .join(&pass)
                    .join(form)
                    .join("new/estimates.json");
                path.is_file()
                    .then(|| read_json::<Estimates>(&path).map(|read| read.seconds()))
                    .transpose()
            };
            let [fused, plain] = FORMS.map(of_form);
            if let (Some(fused_seconds), Some(plain_seconds)) = (fused?, plain?) {
                figures.push(KernelFigure {
                    kernel: kernel.clone(),
                    pass,
                    fused_seconds,
                    plain_seconds,
                    ratio: plain_seconds / fused_seconds,
                });
            }
        }
    }
    Ok(figures)
}

/// Of `estimates.json`, in nanoseconds.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

impl Estimates {
    fn seconds(&self) -> f64 {
        self.median.point_estimate / 1e9
    }
}

/// Names of the folders in a folder, sorted.
fn folders(path: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(path).into_diagnostic();
    let entries = entries.wrap_err_with(|| format!("cannot list {}", path.display()))?;
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry.into_diagnostic()?;
        if entry.path().is_dir() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_paired_by_kernel_and_pass() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let write = |path: &str, nanoseconds: f64| {
            let path = directory.path().join(path).join("new/estimates.json");
            fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            let estimate =
                format!("{{\"point_estimate\": {nanoseconds}, \"standard_error\": 1.0}}");
            let text = format!("{{\"mean\": {estimate}, \"median\": {estimate}, \"slope\": null}}");
            fs::write(path, text).expect("written");
        };
        write("swiglu/forward/fused", 2e6);
        write("swiglu/forward/plain", 5e6);
        write("attention/forward_backward/plain", 3e9);
        write("attention/forward_backward/fused", 1e9);
        write("attention/forward/fused", 1e9);
        fs::create_dir_all(directory.path().join("report/attention")).expect("made");
        let read = read_estimates(directory.path()).expect("read");
        let found: Vec<_> = read
            .iter()
            .map(|figure| (figure.kernel.as_str(), figure.pass.as_str(), figure.ratio))
            .collect();
        assert_eq!(
            found,
            [
                ("attention", "forward_backward", 3.0),
                ("swiglu", "forward", 2.5)
            ]
        );
        assert_eq!(read[0].plain_seconds, 3.0);
    }
}
