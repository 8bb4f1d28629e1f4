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

/// The learning rate of step `s = 1 ..= T` with a warm-up of `W` steps: `peak * s / W` while
/// `s <= W`, then `peak * f(p)` with `p = (s - 1 - W) / (T - W)`, where `f` is 1 (constant),
/// `1 - p` (linear) or `(1 + cos(pi p)) / 2` (cosine).
pub fn learning_rate(
    kind: LrSchedulerType,
    peak: f64,
    step: u64,
    warmup_steps: u64,
    total_steps: u64,
) -> f64 {
    if step <= warmup_steps {
        return peak * step as f64 / warmup_steps as f64;
    }
    let progress =
        (step - 1 - warmup_steps) as f64 / total_steps.saturating_sub(warmup_steps).max(1) as f64;
    peak * match kind {
        LrSchedulerType::ConstantWithWarmup => 1.0,
        LrSchedulerType::Linear => 1.0 - progress,
        LrSchedulerType::Cosine => (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_follow_their_formulas() {
        use LrSchedulerType::{ConstantWithWarmup, Cosine, Linear};
        for (kind, step, warmup, total, expected) in [
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
            let rate = learning_rate(kind, 2.0, step, warmup, total);
            assert!(
                (rate - 2.0 * expected).abs() < 1e-12,
                "{kind:?} step {step}: {rate}"
            );
        }
    }
}
