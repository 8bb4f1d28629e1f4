//! Which training runs are compared.

use serde::Serialize;

/// A part of RACE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Middle,
    High,
}

impl Level {
    /// Its folder.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Middle => "middle",
            Self::High => "high",
        }
    }
}

/// Low-rank adapters on all seven linear layers, without dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Lora {
    pub(super) r: usize,
    pub(super) alpha: usize,
}

/// A training run: rows in file order, padded, no shuffling, AdamW, a constant learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) level: Level,
    pub(super) prompt_loss_weight: f64,
    pub(super) learning_rate: f64,
    pub(super) weight_decay: f64,
    pub(super) max_grad_norm: f64,
    pub(super) warmup_steps: usize,
    pub(super) batch_size: usize,
    pub(super) lora: Option<Lora>,
    /// Whether its first steps are written down in shared/README.md.
    #[serde(skip)]
    pub(super) is_written_down: bool,
}

/// The settings of shared/README.md.
const WRITTEN_DOWN: Case = Case {
    name: "full-0.1",
    level: Level::Middle,
    prompt_loss_weight: 0.1,
    learning_rate: 2e-4,
    weight_decay: 1e-3,
    max_grad_norm: 0.3,
    warmup_steps: 0,
    batch_size: 4,
    lora: None,
    is_written_down: true,
};

/// Every training run that is compared: the settings written down, other weights, adapters, and other rows with every other
/// setting changed too.
pub(super) fn all() -> Vec<Case> {
    let other = Case {
        is_written_down: false,
        ..WRITTEN_DOWN
    };
    let lora = Some(Lora { r: 16, alpha: 32 });
    vec![
        WRITTEN_DOWN,
        Case {
            name: "full-0",
            prompt_loss_weight: 0.0,
            ..other
        },
        Case {
            name: "full-1",
            prompt_loss_weight: 1.0,
            ..other
        },
        Case {
            name: "lora-0.1",
            lora,
            ..other
        },
        Case {
            name: "lora-0-high",
            prompt_loss_weight: 0.0,
            level: Level::High,
            lora,
            ..other
        },
        Case {
            name: "full-0.3-high",
            level: Level::High,
            prompt_loss_weight: 0.3,
            learning_rate: 1e-4,
            weight_decay: 0.1,
            max_grad_norm: 1.0,
            warmup_steps: 3,
            batch_size: 3,
            ..other
        },
    ]
}

impl Case {
    /// Rows read: enough for so many full batches, with some to spare for rows that are too long.
    pub(super) fn rows(&self, steps: usize) -> usize {
        self.batch_size * (steps + 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_cases_apart() {
        let cases = all();
        let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), cases.len());
        assert_eq!(cases.iter().filter(|case| case.is_written_down).count(), 1);
        assert_eq!(cases[0].rows(5), 28);
    }
}
