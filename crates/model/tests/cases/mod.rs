//! Golden cases and what tests compute of them.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use plw_batch::{Batch, Role, Segment, Sequence};
use plw_model::{DropoutKey, Llama, NamedTensors};
use serde::Deserialize;

/// What transformers computed (xtask/fixtures/golden_llama.py).
#[derive(Deserialize)]
pub(crate) struct Golden {
    pub(crate) sequences: Vec<GoldenSequence>,
    /// Per sequence `[tokens, vocab]`.
    pub(crate) logits: Vec<Vec<Vec<f32>>>,
    pub(crate) weights: Vec<f64>,
    pub(crate) losses: Vec<f64>,
    /// Of the loss with weight 0.1.
    pub(crate) gradients: BTreeMap<String, GoldenGradient>,
}

#[derive(Deserialize)]
pub(crate) struct GoldenSequence {
    token_ids: Vec<u32>,
    completion_start: u32,
}

#[derive(Deserialize)]
pub(crate) struct GoldenGradient {
    pub(crate) norm: f64,
    pub(crate) first: Vec<f32>,
}

/// A case's folder. The program may run where it was not built.
pub(crate) fn fixture(case: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR");
    let package = package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("tests/fixtures").join(case)
}

impl Golden {
    pub(crate) fn read(case: &str) -> Self {
        let text = std::fs::read_to_string(fixture(case).join("golden.json")).expect("committed");
        serde_json::from_str(&text).expect("written by the script")
    }

    pub(crate) fn sequences(&self) -> Vec<Sequence> {
        (0..)
            .zip(&self.sequences)
            .map(|(n, s)| sequence(n, &s.token_ids, s.completion_start))
            .collect()
    }
}

pub(crate) fn sequence(example: u32, token_ids: &[u32], completion_start: u32) -> Sequence {
    Sequence {
        example,
        group: 0,
        token_ids: token_ids.to_vec(),
        segments: Segment::prompt_and_completion(completion_start as usize, token_ids.len()),
        answer: None,
    }
}

/// Logits of all positions: `[batch * seq, vocab]`.
pub(crate) fn logits(model: &Llama, batch: &Batch, dropout: Option<&DropoutKey>) -> Tensor<2> {
    let rows: Vec<u32> = (0..batch.positions() as u32).collect();
    plw_kernels::logits(model.forward(batch, &rows, dropout), model.lm_head())
}

/// sum(w l) / sum(w) over the targets of a batch, by plain operations.
pub(crate) fn loss(logits: Tensor<2>, batch: &Batch, prompt_weight: f64) -> Tensor<1> {
    let device = logits.device();
    let count = batch.targets.len();
    let indices = |values: Vec<i64>| -> Tensor<1, Int> {
        Tensor::from_data(TensorData::new(values, [count]), &device)
    };
    let positions = indices(batch.targets.iter().map(|t| t.position.into()).collect());
    let tokens = indices(batch.targets.iter().map(|t| t.token.into()).collect());
    let weights: Vec<f32> = batch
        .targets
        .iter()
        .map(|t| {
            if t.role == Role::Prompt {
                prompt_weight as f32
            } else {
                1.0
            }
        })
        .collect();
    let sum: f32 = weights.iter().sum();
    let weights = Tensor::<1>::from_data(TensorData::new(weights, [count]), &device);
    let log_probability = activation::log_softmax(logits.select(0, positions), 1)
        .gather(1, tokens.unsqueeze_dim(1))
        .squeeze_dim::<1>(1);
    (log_probability * weights).sum().neg().div_scalar(sum)
}

/// The gradients of [`loss`] by name.
pub(crate) fn gradients(
    model: &Llama,
    batch: &Batch,
    prompt_weight: f64,
    dropout: Option<&DropoutKey>,
) -> NamedTensors {
    let loss = loss(logits(model, batch, dropout), batch, prompt_weight);
    model.take_gradients(&mut loss.backward())
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data_as::<f32>()
        .as_slice()
        .expect("just read as f32")
        .to_vec()
}

pub(crate) fn norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|&v| f64::from(v).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// Norm of the difference relative to the norm of the expectation.
pub(crate) fn relative_difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let difference: Vec<f32> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
    norm(&difference) / norm(expected).max(1e-12)
}

/// The CPU, or the device that `PLW_TEST_DEVICE` names: `cpu`, `cuda` or `wgpu`, of which the last
/// two are built in by the feature of that name.
pub(crate) fn training_device() -> Device {
    let name = std::env::var("PLW_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_string());
    let device = match name.as_str() {
        "cpu" => Device::flex(),
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(0),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu(burn::tensor::DeviceKind::default()),
        other => panic!("PLW_TEST_DEVICE: the device `{other}` is not built in"),
    };
    device.autodiff()
}

/// Stacks batches of one row each as the rows of one batch, padded to the longest.
pub(crate) fn stack(rows: &[Batch]) -> Batch {
    let seq = rows.iter().map(|row| row.shape[1]).max().unwrap_or(0);
    let mut stacked = Batch {
        shape: [rows.len(), seq],
        ..Batch::default()
    };
    for row in rows {
        let (start, first) = (stacked.token_ids.len(), stacked.sequences.len() as u32);
        let length = row.shape[1];
        stacked.token_ids.extend(&row.token_ids);
        stacked.position_ids.extend(&row.position_ids);
        stacked.visible_until.extend(&row.visible_until);
        stacked
            .first_sequence
            .extend(row.first_sequence.iter().map(|sequence| first + sequence));
        stacked.token_ids.resize(start + seq, 0);
        stacked.position_ids.resize(start + seq, 0);
        // A padding token attends to itself, so that no softmax is empty.
        stacked.visible_until.extend(length as u32 + 1..=seq as u32);
        stacked.first_sequence.resize(start + seq, 0);
        for target in &row.targets {
            let mut target = target.clone();
            target.position += start as u32;
            target.sequences = first + target.sequences.start..first + target.sequences.end;
            stacked.targets.push(target);
        }
        for sequence in &row.sequences {
            let mut sequence = sequence.clone();
            if let Some(answer) = &mut sequence.answer {
                answer.position += start as u32;
            }
            stacked.sequences.push(sequence);
        }
    }
    stacked
}

/// A row for each sequence, padded to the longest.
pub(crate) fn pad(sequences: &[Sequence]) -> Batch {
    let rows: Vec<Batch> = sequences.chunks(1).map(plw_batch::concatenate).collect();
    stack(&rows)
}
