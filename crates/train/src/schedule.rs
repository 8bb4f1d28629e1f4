//! The learning rate of a step.

use serde::{Deserialize, Serialize};

/// How the learning rate continues after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedulerType {
    /// It stays at its peak.
    #[default]
    ConstantWithWarmup,
    /// It falls to zero linearly.
    Linear,
    /// It falls to zero along half a cosine.
    Cosine,
}

impl LrSchedulerType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::ConstantWithWarmup, Self::Linear, Self::Cosine];
}

/// The learning rates of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// How the learning rate continues after the warm-up.
    pub kind: LrSchedulerType,
    /// Peak learning rate.
    pub peak: f64,
    /// W: steps of linear warm-up.
    pub warmup_steps: u64,
    /// T: steps of the run.
    pub total_steps: u64,
}

impl Schedule {
    /// The learning rate of step `s = 1 ..= T`: `peak * s / W` while `s <= W`, then `peak * f(p)`
    /// with `p = (s - 1 - W) / (T - W)`, where `f` is 1 (constant), `1 - p` (linear) or
    /// `(1 + cos(pi p)) / 2` (cosine).
    pub fn learning_rate(&self, step: u64) -> f64 {
        let Self {
            kind,
            peak,
            warmup_steps,
            total_steps,
        } = *self;
        if step <= warmup_steps {
            return peak * step as f64 / warmup_steps as f64;
        }
        let progress = (step - 1 - warmup_steps) as f64
            / total_steps.saturating_sub(warmup_steps).max(1) as f64;
        peak * match kind {
            LrSchedulerType::ConstantWithWarmup => 1.0,
            LrSchedulerType::Linear => 1.0 - progress,
            LrSchedulerType::Cosine => (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_follow_their_formulas() {
        use LrSchedulerType::{ConstantWithWarmup, Cosine, Linear};
        for (kind, step, warmup_steps, total_steps, expected) in [
            (ConstantWithWarmup, 1, 0, 10, 1.0),
            (ConstantWithWarmup, 1, 4, 10, 0.25),
            (ConstantWithWarmup, 4, 4, 10, 1.0),
            (ConstantWithWarmup, 10, 4, 10, 1.0),
            (Linear, 1, 0, 10, 1.0),
            (Linear, 10, 0, 10, 0.1),
            (Linear, 5, 4, 10, 1.0),
            (Linear, 8, 4, 10, 0.5),
            (Cosine, 5, 4, 10, 1.0),
            (Cosine, 8, 4, 10, 0.5),
            (Cosine, 1, 0, 1, 1.0),
        ] {
            let schedule = Schedule {
                kind,
                peak: 2.0,
                warmup_steps,
                total_steps,
            };
            let rate = schedule.learning_rate(step);
            assert!(
                (rate - 2.0 * expected).abs() < 1e-12,
                "{kind:?} step {step}: {rate}"
            );
        }
    }
}
