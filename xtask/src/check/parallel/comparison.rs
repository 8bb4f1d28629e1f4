//! Runs of several processes next to those of one, and next to themselves.

use std::fs;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_record::{MetricsRow, RunDirectory, latest_checkpoint};
use safetensors::SafeTensors;

use super::Training;
use crate::check::compared::{Compared, SameBits, greatest};

/// Greatest differences that pass: of the first step's gradients as part of their norm, of losses
/// as part of the loss.
const GRADIENTS: f64 = 1e-6;
const LOSS: f64 = 1e-4;

/// Compares what the steps hold, which must be the same, and what they come to.
pub(super) fn compare(found: &Training, one: &Training) -> Result<[Compared; 2]> {
    let [gradients, expected] = [found, one].map(|run| first_moments(&run.first));
    let (gradients, expected) = (gradients?, expected?);
    if gradients.is_empty() || gradients.len() != expected.len() {
        return Err(miette!("{}: gradients of other parameters", found.name));
    }
    let norm = |values: &mut dyn Iterator<Item = f64>| -> f64 {
        values.map(|value| value * value).sum::<f64>().sqrt()
    };
    let pairs = gradients.iter().zip(&expected);
    let difference = norm(&mut pairs.map(|(a, b)| f64::from(a - b)));
    Ok([
        Compared {
            what: format!("{}: gradients of the first step", found.name),
            greatest_difference: difference / norm(&mut expected.iter().map(|&b| f64::from(b))),
            bar: GRADIENTS,
        },
        Compared {
            what: format!("{}: losses of 20 steps", found.name),
            greatest_difference: losses(
                &found.name,
                &metrics(&found.steps)?,
                &metrics(&one.steps)?,
            )?,
            bar: LOSS,
        },
    ])
}

/// The greatest difference of losses, once the steps hold the same examples.
pub(in crate::check) fn losses(
    name: &str,
    found: &[MetricsRow],
    expected: &[MetricsRow],
) -> Result<f64> {
    let held = |row: &MetricsRow| (row.step, row.tokens, row.questions, row.epoch);
    if found.is_empty() || !found.iter().map(held).eq(expected.iter().map(held)) {
        return Err(miette!("{name}: the steps hold other examples"));
    }
    let differences = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a.loss / b.loss - 1.0).abs());
    Ok(greatest(differences))
}

/// The rows of a run's metrics, without the clock.
pub(in crate::check) fn metrics(run: &Path) -> Result<Vec<MetricsRow>> {
    let rows = RunDirectory::new(run).read_metrics().into_diagnostic()?;
    let without_clock = rows.into_iter().map(|row| MetricsRow {
        seconds: 0.0,
        ..row
    });
    Ok(without_clock.collect())
}

pub(super) fn same_bits(a: &Training, b: &Training) -> Result<SameBits> {
    Ok(SameBits {
        what: a.name.clone(),
        same: are_same(&a.steps, &b.steps)?,
    })
}

/// Whether two runs have the same metrics, but for the clock, and the same last checkpoint.
pub(in crate::check) fn are_same(a: &Path, b: &Path) -> Result<bool> {
    let files = |run: &Path| -> Result<Vec<Vec<u8>>> {
        let checkpoint = checkpoint(run)?;
        let names = [
            "model.safetensors",
            "adapter_model.safetensors",
            "trainer_state/optimizer.safetensors",
        ];
        let there = names.iter().map(|name| checkpoint.join(name));
        let there = there.filter(|path| path.exists());
        there.map(|path| fs::read(path).into_diagnostic()).collect()
    };
    let (mine, others) = (files(a)?, files(b)?);
    Ok(mine.len() == 2 && mine == others && metrics(a)? == metrics(b)?)
}

fn checkpoint(run: &Path) -> Result<PathBuf> {
    let latest = latest_checkpoint(RunDirectory::new(run).checkpoints()).into_diagnostic()?;
    latest.ok_or_else(|| miette!("{} has no checkpoint", run.display()))
}

/// AdamW's first moments, which after one step are its gradients but for a factor.
fn first_moments(run: &Path) -> Result<Vec<f32>> {
    let path = checkpoint(run)?.join("trainer_state/optimizer.safetensors");
    let bytes = fs::read(&path).into_diagnostic();
    let bytes = bytes.wrap_err_with(|| format!("cannot read {}", path.display()))?;
    let tensors = SafeTensors::deserialize(&bytes).into_diagnostic()?;
    let mut first: Vec<_> = tensors.iter().collect();
    first.retain(|(name, _)| name.starts_with("first."));
    first.sort_by_key(|(name, _)| *name);
    let values = |bytes: &[u8]| -> Vec<f32> {
        let (numbers, _) = bytes.as_chunks();
        let numbers = numbers.iter();
        numbers.map(|number| f32::from_le_bytes(*number)).collect()
    };
    let all = first.iter().map(|(_, tensor)| values(tensor.data()));
    Ok(all.collect::<Vec<_>>().concat())
}
