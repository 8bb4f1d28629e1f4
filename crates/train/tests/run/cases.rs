//! Tiny models, examples and runs for the tests.

use std::path::Path;

use burn::tensor::Device;
use plw_batch::{Answer, ExampleKey, Examples, Role, Segment, Sequence, Sequences};
use plw_eval::EvaluationOptions;
use plw_model::{Llama, LlamaConfig};
use plw_record::{MetricsRow, RunConfig, RunDirectory};
use plw_train::{
    BatchingArguments, LossArguments, Observer, Outcome, Run, TrainError, TrainingArguments, train,
};
use plw_transport::Alone;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) const VOCAB: u32 = 23;

pub(crate) fn tiny_llama(seed: u64, device: &Device) -> Llama {
    let config = LlamaConfig::from_json(
        r#"{"model_type": "llama", "vocab_size": 23, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "tie_word_embeddings": true, "rms_norm_eps": 1e-5}"#,
    )
    .expect("a valid config.json");
    Llama::init(&config, seed, device)
}

/// Random questions; a group has up to three of them.
pub(crate) fn random_sequences(count: usize, seed: u64) -> Sequences {
    questions(count, seed).into_iter().collect()
}

fn questions(count: usize, seed: u64) -> Vec<Sequence> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count as u32)
        .map(|example| {
            let length = rng.random_range(3..14);
            let completion_start = rng.random_range(1..length as u32 - 1);
            let mut token_ids: Vec<u32> = (0..length).map(|_| rng.random_range(0..VOCAB)).collect();
            let correct = rng.random_range(0..4);
            token_ids[completion_start as usize] = correct + 1;
            let answer = Answer {
                position: completion_start - 1,
                option_tokens: vec![1, 2, 3, 4],
                correct,
            };
            Sequence {
                example,
                group: example / 3,
                token_ids,
                segments: Segment::prompt_and_completion(completion_start as usize, length),
                answer: Some(answer),
            }
        })
        .collect()
}

/// Random questions, most of which begin as an earlier one does, for any number of tokens: a part
/// of one's prompt may be another's completion, or the whole of another. Every third is a
/// conversation, whose turns have weights.
pub(crate) fn random_tree(count: usize, seed: u64) -> Sequences {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sequences = questions(count, seed);
    for index in 1..count {
        let model = sequences[rng.random_range(0..index)].token_ids.clone();
        let sequence = &mut sequences[index];
        let shared = rng.random_range(0..=model.len().min(sequence.token_ids.len()));
        sequence.token_ids[..shared].copy_from_slice(&model[..shared]);
        if index % 3 == 2 {
            sequence.segments = turns(&mut rng, sequence.token_ids.len());
        }
    }
    sequences.into_iter().collect()
}

/// Turns of one to four tokens that fill a sequence: the user's, the assistant's, and so on.
fn turns(rng: &mut ChaCha8Rng, length: usize) -> Vec<Segment> {
    let mut turns: Vec<Segment> = Vec::new();
    while turns.last().is_none_or(|turn| (turn.end as usize) < length) {
        let start = turns.last().map_or(0, |turn| turn.end);
        turns.push(Segment {
            role: Role::ALL[turns.len() % 2],
            weight: [1.0, 0.5, 0.0, 2.0][rng.random_range(0..4)],
            end: (start + rng.random_range(1..5)).min(length as u32),
        });
    }
    // Something of it counts.
    if let Some(last) = turns.last_mut() {
        (last.role, last.weight) = (Role::Completion, 1.0);
    }
    turns
}

pub(crate) fn random_examples(count: usize, seed: u64) -> Examples {
    let sequences = random_sequences(count, seed);
    let keys = sequences
        .iter()
        .map(|sequence| ExampleKey {
            file: "questions.parquet".into(),
            row: u64::from(sequence.example),
            example_id: format!("middle{}.txt", sequence.group),
            level: "middle".into(),
            answer: Some('A'),
        })
        .collect();
    Examples {
        sequences,
        keys,
        ..Examples::default()
    }
}

/// Stops after the step of this number. The second is that of the last step.
pub(crate) struct StopAfter(pub(crate) u64, pub(crate) u64);

impl Observer for StopAfter {
    fn stepped(&mut self, row: &MetricsRow) {
        self.1 = row.step;
    }
    fn should_stop(&self) -> bool {
        self.1 >= self.0
    }
}

/// A run of 8 steps, evaluated after every third and saved after every second.
pub(crate) struct Case {
    pub(crate) training: TrainingArguments,
    pub(crate) examples: Examples,
}

impl Case {
    pub(crate) fn new(learning_rate: f64) -> Self {
        let training = TrainingArguments {
            learning_rate,
            per_device_train_batch_size: 2,
            gradient_accumulation_steps: 2,
            max_steps: Some(8),
            eval_steps: Some(3),
            save_steps: 2,
            warmup_steps: 2,
            seed: 11,
            ..TrainingArguments::default()
        };
        Self {
            training,
            examples: random_examples(13, 1),
        }
    }

    pub(crate) fn train(
        &self,
        directory: &Path,
        resume: bool,
        stop_after: u64,
    ) -> Result<Outcome, TrainError> {
        self.observed(directory, resume, &mut StopAfter(stop_after, 0))
    }

    pub(crate) fn observed(
        &self,
        directory: &Path,
        resume: bool,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, TrainError> {
        let device = Device::flex().autodiff();
        let config = RunConfig::of(&self.training).expect("settings are a table");
        let run = Run {
            directory: &RunDirectory::new(directory),
            config: &config,
            training: &self.training,
            loss: &LossArguments {
                prompt_loss_weight: 0.1,
                ..LossArguments::default()
            },
            batching: &BatchingArguments::default(),
            evaluation: EvaluationOptions::default(),
            train: &self.examples,
            validation: Some(&self.examples),
            test: self
                .training
                .load_best_model_at_end
                .then_some(&self.examples),
            companions: &[],
            resume,
            transport: &Alone::default(),
        };
        train(&run, tiny_llama(3, &device), &device, observer)
    }
}

/// What a run leaves that must not depend on interruptions: metrics without the clock, and files.
pub(crate) type Remains = (Vec<MetricsRow>, Vec<Vec<u8>>);

/// What a run of 8 steps leaves.
pub(crate) fn remains(directory: &Path) -> Remains {
    remains_of(directory, 8, &[0, 3, 6, 8])
}

/// The metrics, the weights and moments of the last step, and the predictions of these steps.
pub(crate) fn remains_of(directory: &Path, last: u64, evaluated: &[u64]) -> Remains {
    let run = RunDirectory::new(directory);
    let metrics = run
        .read_metrics()
        .expect("metrics")
        .into_iter()
        .map(|row| MetricsRow {
            seconds: 0.0,
            ..row
        });
    let checkpoint = run.checkpoints().join(format!("step-{last}"));
    let files = ["model.safetensors", "trainer_state/optimizer.safetensors"]
        .map(|file| checkpoint.join(file));
    let predictions = evaluated.iter().map(|&step| run.predictions(step));
    let bytes = files
        .into_iter()
        .chain(predictions)
        .map(|path| std::fs::read(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")));
    (metrics.collect(), bytes.collect())
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(&path, &target).expect("copied")),
        }
    }
}
