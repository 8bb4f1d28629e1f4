//! Examples of a single token have nothing to predict: a step of them is an error that names them.

use burn::tensor::Device;
use plw_batch::Segment;
use plw_eval::EvaluationOptions;
use plw_record::{RunConfig, RunDirectory};
use plw_train::{BatchingArguments, LossArguments, Observer, Run, TrainingArguments, train};
use plw_transport::Alone;

use crate::cases::{random_examples, tiny_llama};

struct Silent;

impl Observer for Silent {}

#[test]
fn a_step_without_targets_names_its_rows() {
    let mut examples = random_examples(3, 1);
    let sequences = examples.sequences.iter().map(|mut sequence| {
        sequence.token_ids.truncate(1);
        sequence.segments = Segment::prompt_and_completion(0, 1);
        sequence.answer = None;
        sequence
    });
    examples.sequences = sequences.collect();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let training = TrainingArguments {
        per_device_train_batch_size: 1,
        max_steps: Some(1),
        ..TrainingArguments::default()
    };
    let run = Run {
        directory: &RunDirectory::new(folder.path().join("run")),
        config: &RunConfig::of(&training).expect("settings are a table"),
        training: &training,
        loss: &LossArguments::default(),
        batching: &BatchingArguments::default(),
        evaluation: EvaluationOptions::default(),
        train: &examples,
        validation: None,
        test: None,
        companions: &[],
        resume: false,
        transport: &Alone::default(),
    };
    let device = Device::flex().autodiff();
    let trained = train(&run, tiny_llama(3, &device), &device, &mut Silent);
    let Err(error) = trained else {
        panic!("there is nothing to learn")
    };
    let error = error.to_string();
    for part in [
        "step 1: ",
        "raise a weight or drop such examples",
        "questions.parquet row ",
    ] {
        assert!(error.contains(part), "{part:?} in {error}");
    }
}
