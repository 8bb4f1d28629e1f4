//! What a device computes, next to what the CPU does: training runs and an evaluation of the smoke
//! preset.

use std::path::Path;
use std::process::Command;

use miette::{IntoDiagnostic, Result, miette};
use plw_record::{MetricsRow, PredictionRow, RunDirectory, read_predictions};

use super::compared::Compared;
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

impl Tested<'_> {
    /// The binary, without the settings of whoever runs the check.
    pub(super) fn command(&self) -> Command {
        let mut command = self.workspace.command(self.plw);
        without_settings(&mut command).envs(self.environment.iter().copied());
        command
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
        let mut command = self.command();
        command.args(["train", "--config", "experiments/smoke.toml"]);
        command.args(["--device", device, "--prompt-loss-weight", "0.1"]);
        command.args(flags).arg("--output-dir").arg(&records);
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
        let greatest = |value: fn(&MetricsRow) -> f64| {
            let pairs = found.iter().zip(expected);
            let parts = pairs.map(|(a, b)| ((value(a) - value(b)) / value(b)).abs());
            parts.fold(0.0, maximum)
        };
        Ok([
            Compared {
                what: format!("{name}: losses"),
                greatest_difference: greatest(|row| row.loss),
                bar: bars.loss,
            },
            Compared {
                what: format!("{name}: gradient norms"),
                greatest_difference: greatest(|row| row.grad_norm),
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
            greatest_difference: differences.fold(0.0, maximum),
            bar: bars.logit,
        })
    }

    fn evaluate(&self, name: &str, device: &str, flags: &[&str]) -> Result<Vec<PredictionRow>> {
        let id = format!("evaluation-{}-{device}", name.replace([' ', ','], "-"));
        let records = self.scratch.empty_run(&id)?;
        let mut command = self.command();
        command.args(["eval", "--config", "experiments/smoke.toml"]);
        command.args(["--device", device, "--data", "runs/data/smoke"]);
        command.args(flags).arg("--output-dir").arg(&records);
        process::run_logged(&mut command, &self.scratch.log(&id))?;
        read_predictions(records.join("predictions.parquet")).into_diagnostic()
    }
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
