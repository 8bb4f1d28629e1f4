//! What a device computes, next to what the CPU does: training runs and an evaluation of the smoke
//! preset.

use std::path::Path;
use std::process::Command;

use miette::{IntoDiagnostic, Result, miette};
use plw_files::write_json_atomic;
use plw_record::{Machine, MetricsRow, PredictionRow, RunDirectory, read_predictions};
use serde::Serialize;

use super::compared::{Compared, SameBits, greatest, table};
use crate::binary::CPU;
use crate::peer::environment::without_settings;
use crate::peer::scratch::{Scratch, remove};
use crate::process;
use crate::workspace::Workspace;

/// What is trained: a name, and the flags that differ from the smoke preset.
pub(super) const RUNS: [(&str, &[&str]); 5] = [
    ("full", &["--share-prefixes=false"]),
    ("full, shared prefixes", &[]),
    (
        "LoRA",
        &["--lora-r=4", "--lora-alpha=8", "--lora-dropout=0.1"],
    ),
    ("QLoRA", &["--lora-r=4", "--lora-alpha=8", "--dtype=nf4"]),
    ("full, recomputed", &["--gradient-checkpointing=true"]),
];

/// Greatest differences that pass: of losses and gradient norms as parts of the CPU's value, of
/// logits as they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bars {
    pub(super) loss: f64,
    pub(super) grad_norm: f64,
    pub(super) logit: f64,
}

/// Of f32.
pub(super) const F32: Bars = Bars {
    loss: 1e-4,
    grad_norm: 1e-3,
    logit: 1e-3,
};

/// A device, and the binary that computes on it.
pub(super) struct Tested<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) plw: &'a Path,
    pub(super) scratch: &'a Scratch,
    pub(super) device: &'static str,
    /// What the binary finds in its environment.
    pub(super) environment: &'a [(&'static str, &'static str)],
}

/// `results/check-DEVICE.json`.
#[derive(Debug, Serialize)]
struct Record {
    commit: String,
    machine: Machine,
    /// What `plw devices` prints.
    devices: Vec<String>,
    cases_of_each_property: String,
    compared: Vec<Compared>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    same_bits: Vec<SameBits>,
}

impl Tested<'_> {
    /// The binary with the smoke preset, without the settings of whoever runs the check.
    fn smoke(&self, verb: &str, device: &str, flags: &[&str], records: &Path) -> Command {
        let mut command = self.workspace.command(self.plw);
        without_settings(&mut command).envs(self.environment.iter().copied());
        command.args([
            verb,
            "--config",
            "experiments/smoke.toml",
            "--device",
            device,
        ]);
        command.args(flags).arg("--output-dir").arg(records);
        command
    }

    /// A training run that leaves its records there.
    pub(super) fn training(&self, device: &str, flags: &[&str], records: &Path) -> Command {
        let mut command = self.smoke("train", device, flags, records);
        command.args(["--prompt-loss-weight", "0.1"]);
        command
    }

    /// Everything in f32.
    pub(super) fn compare_in_f32(&self) -> Result<Vec<Compared>> {
        let mut compared = Vec::new();
        for (name, flags) in RUNS {
            compared.extend(self.compare_training(name, flags, F32)?);
        }
        compared.push(self.compare_evaluation("f32", &[], F32)?);
        Ok(compared)
    }

    /// Shows the comparisons and keeps them in `results/check-DEVICE.json`.
    ///
    /// # Errors
    ///
    /// Where one is not met.
    pub(super) fn record(
        &self,
        cases_of_each_property: &str,
        compared: Vec<Compared>,
        same_bits: Vec<SameBits>,
    ) -> Result<()> {
        let (workspace, device) = (self.workspace, self.device);
        let devices = process::output(workspace.command(self.plw).arg("devices"))?;
        let record = Record {
            commit: workspace.commit(),
            machine: Machine::this(),
            devices: devices.lines().map(str::to_string).collect(),
            cases_of_each_property: cases_of_each_property.to_string(),
            compared,
            same_bits,
        };
        println!(
            "{}",
            table(&format!("{device} against the CPU"), &record.compared)
        );
        let path = format!("results/check-{device}.json");
        write_json_atomic(workspace.path(&path), &record).into_diagnostic()?;
        let is_met = record.compared.iter().all(Compared::is_met)
            && record.same_bits.iter().all(|pair| pair.same);
        match is_met {
            true => Ok(()),
            false => Err(miette!(
                "{device} computed something else than the CPU: see {path}"
            )),
        }
    }

    /// Trains on the device and on the CPU, and compares the steps.
    pub(super) fn compare_training(
        &self,
        name: &str,
        flags: &[&str],
        bars: Bars,
    ) -> Result<[Compared; 2]> {
        eprintln!("training: {name}");
        let [found, expected] = [self.device, CPU].map(|device| self.train(name, device, flags));
        self.compare_steps(name, &found?, &expected?, bars)
    }

    fn train(&self, name: &str, device: &str, flags: &[&str]) -> Result<Vec<MetricsRow>> {
        let id = format!("{}-{device}", name.replace([' ', ','], "-"));
        let records = self.scratch.empty_run(&id)?;
        let mut command = self.training(device, flags, &records);
        process::run_logged(&mut command, &self.scratch.log(&id))?;
        let records = RunDirectory::new(records);
        let rows = records.read_metrics().into_diagnostic()?;
        remove(&records.checkpoints())?;
        Ok(rows)
    }

    fn compare_steps(
        &self,
        name: &str,
        found: &[MetricsRow],
        expected: &[MetricsRow],
        bars: Bars,
    ) -> Result<[Compared; 2]> {
        if found.is_empty() || found.len() != expected.len() {
            let (found, expected) = (found.len(), expected.len());
            return Err(miette!(
                "{name}: {found} steps on {}, {expected} on the CPU",
                self.device
            ));
        }
        let greatest_of = |value: fn(&MetricsRow) -> f64| {
            let pairs = found.iter().zip(expected);
            greatest(pairs.map(|(a, b)| ((value(a) - value(b)) / value(b)).abs()))
        };
        Ok([
            Compared {
                what: format!("{name}: losses"),
                greatest_difference: greatest_of(|row| row.loss),
                bar: bars.loss,
            },
            Compared {
                what: format!("{name}: gradient norms"),
                greatest_difference: greatest_of(|row| row.grad_norm),
                bar: bars.grad_norm,
            },
        ])
    }

    /// Evaluates on the device and on the CPU, and compares the logits.
    pub(super) fn compare_evaluation(
        &self,
        name: &str,
        flags: &[&str],
        bars: Bars,
    ) -> Result<Compared> {
        eprintln!("evaluation: {name}");
        let [found, expected] = [self.device, CPU].map(|device| self.evaluate(name, device, flags));
        let (found, expected) = (found?, expected?);
        let is_same = |(a, b): (&PredictionRow, &PredictionRow)| {
            a.key == b.key && a.logits.len() == b.logits.len()
        };
        let has_all = !found.is_empty() && found.len() == expected.len();
        if !has_all || !found.iter().zip(&expected).all(is_same) {
            return Err(miette!(
                "{name}: {} and the CPU answered other questions",
                self.device
            ));
        }
        let pairs = found
            .iter()
            .zip(&expected)
            .flat_map(|(a, b)| a.logits.iter().zip(&b.logits));
        let differences = pairs.map(|(a, b)| f64::from((a - b).abs()));
        Ok(Compared {
            what: format!("{name}: logits of {} questions", found.len()),
            greatest_difference: greatest(differences),
            bar: bars.logit,
        })
    }

    fn evaluate(&self, name: &str, device: &str, flags: &[&str]) -> Result<Vec<PredictionRow>> {
        let id = format!("evaluation-{}-{device}", name.replace([' ', ','], "-"));
        let records = self.scratch.empty_run(&id)?;
        let mut command = self.smoke("eval", device, flags, &records);
        command.args(["--data", "runs/data/smoke"]);
        process::run_logged(&mut command, &self.scratch.log(&id))?;
        read_predictions(records.join("predictions.parquet")).into_diagnostic()
    }
}
