//! Which training runs are compared.

use serde::Serialize;

use crate::peer::inputs::Level;
use crate::peer::work::{Lora, Training};

/// A training run by both programs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) level: Level,
    #[serde(flatten)]
    pub(super) training: Training,
}

/// The case whose first steps are recorded in `comparison`.
pub(super) const RECORDED: &str = "full-0.1";

/// Every training run that is compared: full fine-tuning with three weights, adapters, and other
/// rows with every other setting changed too.
pub(super) fn all(steps: usize) -> Vec<Case> {
    let full = Training {
        steps,
        ..Training::default()
    };
    let middle = |name, training| Case {
        name,
        level: Level::Middle,
        training,
    };
    let high = |name, training| Case {
        name,
        level: Level::High,
        training,
    };
    let with_weight = |prompt_loss_weight, training| Training {
        prompt_loss_weight,
        ..training
    };
    let adapters = Training {
        lora: Some(Lora { r: 16, alpha: 32 }),
        ..full
    };
    let on_nf4 = Training {
        nf4: true,
        ..adapters
    };
    let other_settings = Training {
        prompt_loss_weight: 0.3,
        learning_rate: 1e-4,
        weight_decay: 0.1,
        max_grad_norm: 1.0,
        warmup_steps: 3,
        batch_size: 3,
        ..full
    };
    vec![
        middle(RECORDED, full),
        middle("full-0", with_weight(0.0, full)),
        middle("full-1", with_weight(1.0, full)),
        middle("lora-0.1", adapters),
        middle("qlora-0.1", on_nf4),
        high("lora-0-high", with_weight(0.0, adapters)),
        high("full-0.3-high", other_settings),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_cases_apart() {
        let cases = all(5);
        let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), cases.len());
        assert_eq!((cases[0].name, cases[0].training.rows()), (RECORDED, 28));
    }
}
