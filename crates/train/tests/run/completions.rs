//! A run on conversations: evaluated without questions, resumed to the same bits, and its best
//! model that of the lowest completion loss.

use plw_batch::{Role, Segment};
use plw_record::{RunDirectory, read_predictions};

use crate::cases::{Case, remains};

/// A case whose examples are conversations of two completions, some of which have no weight.
fn case() -> Case {
    let mut case = Case::new(0.02);
    let sequences = case.examples.sequences.iter().map(|mut sequence| {
        let end = sequence.len() as u32;
        let segment = |role, end, weight| Segment { role, end, weight };
        let weight = f64::from(u8::from(sequence.example % 4 > 0));
        sequence.token_ids.extend([3, 7, 2, 5]);
        sequence.segments = vec![
            segment(Role::Prompt, 1, 1.0),
            segment(Role::Completion, end, weight),
            segment(Role::Prompt, end + 2, 1.0),
            segment(Role::Completion, end + 4, 2.0 * weight),
        ];
        sequence.answer = None;
        sequence
    });
    case.examples.sequences = sequences.collect();
    for key in &mut case.examples.keys {
        key.answer = None;
    }
    case
}

#[test]
fn a_resumed_run_on_conversations_has_the_bits_of_an_undisturbed_one() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    let case = case();
    case.train(&whole, false, u64::MAX).expect("trained");
    case.train(&stopped, false, 3).expect("stopped");
    case.train(&stopped, true, 6).expect("stopped again");
    case.train(&stopped, true, u64::MAX).expect("resumed");
    assert!(remains(&stopped) == remains(&whole), "another result");
    let run = RunDirectory::new(&whole);
    run.read_summary()
        .expect("its records are as they were written");
    let predictions = read_predictions(run.predictions(8)).expect("predictions");
    assert_eq!(predictions.len(), case.examples.len());
    assert!(predictions.iter().all(|row| !row.is_question()));
    for row in run.read_evaluations().expect("evaluations") {
        let summary = row.summary;
        assert_eq!((summary.examples, summary.accuracy.questions), (13, 0));
        assert_eq!(summary.unscored_examples, 4);
        assert_eq!(summary.perplexity, summary.completion_loss.map(f64::exp));
    }
}

#[test]
fn the_best_model_has_the_lowest_completion_loss() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut case = case();
    case.training.load_best_model_at_end = true;
    // So large that the loss rises again.
    case.training.learning_rate = 0.5;
    case.training.eval_steps = Some(1);
    let path = folder.path().join("run");
    case.train(&path, false, u64::MAX).expect("trained");
    let run = RunDirectory::new(&path);
    let (summary, _) = run.read_summary().expect("complete");
    let rows = run.read_evaluations().expect("evaluations");
    let validation = rows.iter().filter(|row| row.split == "validation");
    let loss = |row: &plw_record::EvaluationRow| row.summary.completion_loss.expect("scored");
    let lowest = validation
        .min_by(|a, b| loss(a).total_cmp(&loss(b)))
        .expect("evaluated");
    let best = summary.best.expect("the best evaluation");
    assert_eq!(best.step, lowest.step);
    assert!(loss(&best) < loss(&summary.last.expect("the last evaluation")));
    // The chosen model is the one that is evaluated on the test data.
    let test = summary.test.expect("the evaluation on the test data");
    assert_eq!((test.step, loss(&test)), (best.step, loss(&best)));
}
