//! `cargo xtask check wgpu`: everything on a device of wgpu, against the CPU.

use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, miette};
use plw_files::write_json_atomic;
use plw_record::{Machine, MetricsRow, PredictionRow, RunDirectory, read_predictions};
use serde::Serialize;

use super::compared::{Compared, table};
use crate::peer::scratch::{Scratch, remove};
use crate::workspace::Workspace;
use crate::{binary, generated, process};

const DEVICE: &str = "wgpu";

/// Random cases of each property of the kernels; CI has fewer.
const CASES: &str = "48";

/// Greatest differences that pass: of losses and gradient norms as parts of the CPU's value, of
/// logits as they are.
const LOSS: f64 = 1e-4;
const GRAD_NORM: f64 = 1e-3;
const LOGIT: f64 = 1e-3;

/// What is trained: a name, and the flags that differ from the smoke preset.
const RUNS: [(&str, &[&str]); 5] = [
    ("full", &["--share-prefixes=false"]),
    ("full, shared prefixes", &[]),
    (
        "LoRA",
        &["--lora-r=4", "--lora-alpha=8", "--lora-dropout=0.1"],
    ),
    ("QLoRA", &["--lora-r=4", "--lora-alpha=8", "--dtype=nf4"]),
    ("full, recomputed", &["--gradient-checkpointing=true"]),
];

/// `results/check-wgpu.json`.
#[derive(Debug, Serialize)]
struct Record {
    commit: String,
    machine: Machine,
    /// What `plw devices` prints.
    devices: Vec<String>,
    cases_of_each_property: String,
    compared: Vec<Compared>,
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut properties = binary::cargo(workspace);
    properties.args(["test", "--release", "--locked", "--package", "plw-kernels"]);
    properties.args(["--features", DEVICE, "--test", "device"]);
    properties
        .env("PLW_TEST_DEVICE", DEVICE)
        .env("PLW_TEST_CASES", CASES);
    process::run(&mut properties, "the test above says which kernel is wrong")?;

    let plw = binary::build(workspace, DEVICE)?;
    generated::ensure(workspace, &plw, &generated::synthetic_data("smoke"))?;
    let devices = process::output(workspace.command(&plw).arg("devices"))?;
    let scratch = Scratch::new(workspace.path("target/check/wgpu"));
    let mut compared = Vec::new();
    for (name, flags) in RUNS {
        eprintln!("training: {name}");
        let [found, expected] = [DEVICE, binary::CPU]
            .map(|device| train(workspace, &plw, &scratch, device, name, flags));
        compared.extend(steps(name, &found?, &expected?)?);
    }
    eprintln!("evaluation");
    let [found, expected] =
        [DEVICE, binary::CPU].map(|device| evaluate(workspace, &plw, &scratch, device));
    compared.push(logits(&found?, &expected?)?);
    let is_met = compared.iter().all(Compared::is_met);
    println!("{}", table("wgpu against the CPU", &compared));
    let record = Record {
        commit: workspace.commit(),
        machine: Machine::this(),
        devices: devices.lines().map(str::to_string).collect(),
        cases_of_each_property: CASES.to_string(),
        compared,
    };
    write_json_atomic(workspace.path("results/check-wgpu.json"), &record).into_diagnostic()?;
    match is_met {
        true => Ok(()),
        false => Err(miette!(
            "wgpu and the CPU differ by more than the bars above"
        )),
    }
}

fn train(
    workspace: &Workspace,
    plw: &Path,
    scratch: &Scratch,
    device: &str,
    name: &str,
    flags: &[&str],
) -> Result<Vec<MetricsRow>> {
    let id = format!("{}-{device}", name.replace([' ', ','], "-"));
    let records = scratch.empty_run(&id)?;
    let mut command = workspace.command(plw);
    command.args([
        "train",
        "--config",
        "experiments/smoke.toml",
        "--device",
        device,
    ]);
    command.args(["--prompt-loss-weight", "0.1"]).args(flags);
    command.arg("--output-dir").arg(&records);
    process::run_logged(&mut command, &scratch.log(&id))?;
    let records = RunDirectory::new(records);
    let rows = records.read_metrics().into_diagnostic()?;
    remove(&records.checkpoints())?;
    Ok(rows)
}

fn evaluate(
    workspace: &Workspace,
    plw: &Path,
    scratch: &Scratch,
    device: &str,
) -> Result<Vec<PredictionRow>> {
    let id = format!("evaluation-{device}");
    let records: PathBuf = scratch.empty_run(&id)?;
    let mut command = workspace.command(plw);
    command.args([
        "eval",
        "--config",
        "experiments/smoke.toml",
        "--device",
        device,
    ]);
    command.args(["--data", "runs/data/smoke"]);
    command.arg("--output-dir").arg(&records);
    process::run_logged(&mut command, &scratch.log(&id))?;
    read_predictions(records.join("predictions.parquet")).into_diagnostic()
}

fn steps(name: &str, found: &[MetricsRow], expected: &[MetricsRow]) -> Result<[Compared; 2]> {
    if found.is_empty() || found.len() != expected.len() {
        let (found, expected) = (found.len(), expected.len());
        return Err(miette!(
            "{name}: {found} steps on wgpu, {expected} on the CPU"
        ));
    }
    let greatest = |value: fn(&MetricsRow) -> f64| {
        let pairs = found.iter().zip(expected);
        let parts = pairs.map(|(a, b)| ((value(a) - value(b)) / value(b)).abs());
        parts.fold(0.0, maximum)
    };
    Ok([
        Compared {
            what: format!("{name}: losses"),
            greatest_difference: greatest(|row| row.loss),
            bar: LOSS,
        },
        Compared {
            what: format!("{name}: gradient norms"),
            greatest_difference: greatest(|row| row.grad_norm),
            bar: GRAD_NORM,
        },
    ])
}

fn logits(found: &[PredictionRow], expected: &[PredictionRow]) -> Result<Compared> {
    let is_same = |(a, b): (&PredictionRow, &PredictionRow)| {
        a.key == b.key && a.logits.len() == b.logits.len()
    };
    let has_all = !found.is_empty() && found.len() == expected.len();
    if !has_all || !found.iter().zip(expected).all(is_same) {
        return Err(miette!("wgpu and the CPU answered other questions"));
    }
    let pairs = found
        .iter()
        .zip(expected)
        .flat_map(|(a, b)| a.logits.iter().zip(&b.logits));
    let differences = pairs.map(|(a, b)| f64::from((a - b).abs()));
    Ok(Compared {
        what: format!("logits of {} questions", found.len()),
        greatest_difference: differences.fold(0.0, maximum),
        bar: LOGIT,
    })
}

/// The greater, and NaN where one is, so that no comparison passes by not being a number.
fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_meets_no_bar() {
        for values in [[0.5, f64::NAN, 0.1], [f64::NAN, 0.5, 0.1]] {
            let greatest_difference = values.into_iter().fold(0.0, maximum);
            let compared = Compared {
                what: String::new(),
                greatest_difference,
                bar: 1.0,
            };
            assert!(!compared.is_met());
        }
        assert_eq!([0.5, 2.0, 1.0].into_iter().fold(0.0, maximum), 2.0);
    }
}
