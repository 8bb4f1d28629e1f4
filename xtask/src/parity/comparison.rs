//! Two programs' numbers, compared. Knows figures; runs nothing.

use std::path::Path;

use serde_json::Value;

use super::record::{Answer, Check, Step, Training};

/// Largest relative difference of a loss or a gradient's norm.
const STEP_TOLERANCE: f64 = 0.002;
/// Largest absolute difference of an option's logit.
const LOGIT_TOLERANCE: f64 = 0.01;
/// Share of the questions for which both must choose the same option.
const SAME_CHOICES: f64 = 0.99;

/// The first losses and gradient norms of the run that shared/README.md writes down, by PyTorch 2 on three processors.
const EXPECTED: [(f64, f64); 5] = [
    (2.938796, 6.248),
    (2.387699, 4.093),
    (2.196793, 2.790),
    (2.259351, 2.841),
    (2.312216, 2.684),
];

/// The expected losses and norms, if the model is the one that they were made with.
pub(super) fn expected_steps(model: &Path) -> Option<&'static [(f64, f64)]> {
    let config: Value =
        serde_json::from_slice(&std::fs::read(model.join("config.json")).ok()?).ok()?;
    let is = |name: &str, value: u64| config.get(name).and_then(Value::as_u64) == Some(value);
    let is_smollm2 =
        is("hidden_size", 576) && is("num_hidden_layers", 30) && is("vocab_size", 49152);
    is_smollm2.then_some(&EXPECTED[..])
}

/// |ours - theirs| / |theirs|; infinite where one is not finite.
pub(crate) fn relative_difference(ours: f64, theirs: f64) -> f64 {
    let difference = (ours - theirs).abs() / theirs.abs();
    match (ours == theirs, difference.is_nan()) {
        (true, _) => 0.0,
        (false, true) => f64::INFINITY,
        (false, false) => difference,
    }
}

/// Checks the steps of a case: that all are there and hold the same tokens, and each figure at its worst step.
pub(super) fn compare_steps(
    case: &str,
    ours: &Training,
    theirs: &Training,
    steps: usize,
) -> Vec<Check> {
    let same_steps = ours.steps.len() == steps
        && theirs.steps.len() == steps
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

/// Checks both programs against the figures that are written down.
pub(super) fn compare_expected(
    case: &str,
    ours: &Training,
    theirs: &Training,
    expected: &[(f64, f64)],
) -> Vec<Check> {
    [("plw", ours), ("peer", theirs)]
        .into_iter()
        .flat_map(|(who, training)| {
            let worst = |figure: fn(&Step) -> f64, of: fn(&(f64, f64)) -> f64| {
                let pairs = training.steps.iter().zip(expected);
                pairs
                    .map(|(step, expected)| relative_difference(figure(step), of(expected)))
                    .fold(0.0, f64::max)
            };
            let name = |figure: &str| format!("{case} {figure} of {who} as written down");
            [
                Check::at_most(
                    name("loss"),
                    worst(|step| step.loss, |e| e.0),
                    STEP_TOLERANCE,
                ),
                Check::at_most(
                    name("grad_norm"),
                    worst(|step| step.grad_norm, |e| e.1),
                    STEP_TOLERANCE,
                ),
            ]
        })
        .collect()
}

/// Checks the answers: the same questions, the same choice for nearly all, logits that agree for every option.
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

    fn training(steps: &[(f64, f64)]) -> Training {
        let step = |(index, &(loss, grad_norm)): (usize, &(f64, f64))| Step {
            step: index as u64 + 1,
            loss,
            prompt_loss: None,
            completion_loss: Some(loss),
            grad_norm,
            learning_rate: 2e-4,
            tokens: 1000,
            seconds: 1.0,
        };
        Training {
            steps: steps.iter().enumerate().map(step).collect(),
        }
    }

    fn missed(checks: &[Check]) -> Vec<&str> {
        checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| check.name.as_str())
            .collect()
    }

    #[test]
    fn the_worst_step_decides() {
        let theirs = training(&[(2.0, 6.0), (1.0, 4.0)]);
        let close = training(&[(2.0039, 6.0), (1.0, 3.993)]);
        assert!(missed(&compare_steps("full", &close, &theirs, 2)).is_empty());
        let off = training(&[(2.0, 6.0), (1.0021, 4.0)]);
        assert_eq!(
            missed(&compare_steps("full", &off, &theirs, 2)),
            ["full loss", "full completion_loss"]
        );
        let mut short = close.clone();
        short.steps.pop();
        assert_eq!(
            missed(&compare_steps("full", &short, &theirs, 2)),
            ["full same steps and tokens"]
        );
        let broken = training(&[(f64::NAN, 6.0), (1.0, 4.0)]);
        assert!(missed(&compare_steps("full", &broken, &theirs, 2)).contains(&"full loss"));
    }

    #[test]
    fn relative_differences() {
        assert_eq!(relative_difference(0.0, 0.0), 0.0);
        assert_eq!(relative_difference(1.0, 0.0), f64::INFINITY);
        assert_eq!(relative_difference(f64::NAN, 1.0), f64::INFINITY);
        assert!((relative_difference(0.99, -1.0) - 1.99).abs() < 1e-12);
    }

    #[test]
    fn what_is_written_down_is_checked_for_both() {
        let right = training(&EXPECTED[..3]);
        let wrong = training(&[(2.938796, 6.3)]);
        assert_eq!(
            missed(&compare_expected("full", &right, &wrong, &EXPECTED)),
            ["full grad_norm of peer as written down"]
        );
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
