//! What both programs are asked to do.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::scratch::Scratch;

/// Tokens of the longest sequence; longer ones are left out.
pub(crate) const MAX_LENGTH: u64 = 2048;

/// Adapters on all seven linear layers, without dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lora {
    pub(crate) r: usize,
    pub(crate) alpha: usize,
}

/// Training on the first rows of a file in file order: AdamW, a constant learning rate after the
/// warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Training {
    pub(crate) prompt_loss_weight: f64,
    pub(crate) learning_rate: f64,
    pub(crate) weight_decay: f64,
    pub(crate) max_grad_norm: f64,
    pub(crate) warmup_steps: usize,
    pub(crate) batch_size: usize,
    /// Without adapters every weight is trained.
    pub(crate) lora: Option<Lora>,
    /// Whether the weights under the adapters are in NF4.
    pub(crate) nf4: bool,
    #[serde(skip)]
    pub(crate) steps: usize,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            prompt_loss_weight: 0.1,
            learning_rate: 2e-4,
            weight_decay: 1e-3,
            max_grad_norm: 0.3,
            warmup_steps: 0,
            batch_size: 4,
            lora: None,
            nf4: false,
            steps: 5,
        }
    }
}

impl Training {
    /// Rows read: enough for the steps, with some to spare for rows that are too long.
    pub(crate) fn rows(&self) -> usize {
        self.batch_size * (self.steps + 2)
    }
}

/// How plw lays out a batch; PyTorch always pads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Layout {
    Concatenated,
    SharedPrefixes,
}

/// Who works, and in which precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Program {
    /// In f32.
    Plw,
    /// PyTorch in f32.
    Peer,
    /// PyTorch with weights and all else in bf16.
    PeerBf16,
    /// PyTorch with f32 weights and bf16 autocast.
    PeerAutocast,
}

impl Program {
    pub(crate) const PEERS: [Self; 3] = [Self::Peer, Self::PeerBf16, Self::PeerAutocast];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plw => "plw",
            Self::Peer => "peer",
            Self::PeerBf16 => "peer-bf16",
            Self::PeerAutocast => "peer-autocast",
        }
    }
}

/// What a program is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Work {
    Training(Training, Layout),
    /// The first so many questions.
    Evaluation(usize),
}

/// What a run reads, and where it writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) scratch: &'a Scratch,
    /// Tells its logs and records from those of other runs.
    pub(crate) name: &'a str,
    pub(crate) model: &'a Path,
    /// A parquet file.
    pub(crate) data: &'a Path,
    /// Where PyTorch leaves the adapter that it starts from, and where plw finds it.
    pub(crate) initial_adapter: Option<&'a Path>,
}
