//! Several processes compute what one does. Threads take their place.

use std::path::{Path, PathBuf};
use std::thread;

use burn::tensor::Device;
use plw_batch::Examples;
use plw_eval::EvaluationOptions;
use plw_model::{LoraConfig, TargetModule};
use plw_record::{MetricsRow, RunConfig, RunDirectory};
use plw_train::{
    BatchingArguments, LossArguments, Observer, Outcome, Packing, Run, TrainError,
    TrainingArguments, train,
};
use plw_transport::{Threads, Transport, TransportError};
use safetensors::SafeTensors;

use crate::cases::{StopAfter, random_examples, remains_of, tiny_llama};

const STEPS: u64 = 20;

/// A run of 20 steps, evaluated at the start and the end, and saved at the end.
#[derive(Clone)]
struct Job {
    training: TrainingArguments,
    batching: BatchingArguments,
    lora: Option<LoraConfig>,
    examples: Examples,
}

impl Job {
    /// Six packs of one question a step, in micro-batches of at most two.
    fn new() -> Self {
        Self {
            training: TrainingArguments {
                learning_rate: 1e-2,
                per_device_train_batch_size: 2,
                gradient_accumulation_steps: 3,
                max_steps: Some(STEPS),
                save_steps: STEPS,
                seed: 11,
                ..TrainingArguments::default()
            },
            batching: BatchingArguments::default(),
            lora: None,
            examples: random_examples(40, 1),
        }
    }

    fn packed() -> Self {
        let mut job = Self::new();
        job.batching.packing = Packing::ShortestPackFirst;
        job.batching.max_length = 30;
        job
    }

    fn adapters() -> Self {
        let mut job = Self::new();
        job.lora = Some(LoraConfig {
            r: 2,
            alpha: 4.0,
            dropout: 0.2,
            target_modules: [TargetModule::QProj, TargetModule::DownProj].into(),
        });
        job
    }

    fn recomputed(mut self) -> Self {
        self.training.gradient_checkpointing = true;
        self
    }

    /// Trains with so many processes; process 1, or the only one, asks to stop after a step.
    fn train(
        &self,
        directory: &Path,
        processes: usize,
        resume: bool,
        stop_after: u64,
    ) -> Vec<Result<Outcome, TrainError>> {
        let shared = |_| directory.to_path_buf();
        self.train_in(&shared, processes, resume, stop_after)
    }

    /// The same where each process has a folder of its own.
    fn train_in(
        &self,
        directory: &(impl Fn(usize) -> PathBuf + Sync),
        processes: usize,
        resume: bool,
        stop_after: u64,
    ) -> Vec<Result<Outcome, TrainError>> {
        thread::scope(|scope| {
            let transports = Threads::new(processes).into_iter();
            let threads: Vec<_> = transports
                .map(|transport| {
                    let mut observer = StopAfter(u64::MAX, 0);
                    if transport.rank() == 1.min(processes - 1) {
                        observer.0 = stop_after;
                    }
                    scope.spawn(move || {
                        let directory = directory(transport.rank());
                        let result = self.process(&directory, &transport, resume, &mut observer);
                        if result.is_err() {
                            transport.abort(1);
                        }
                        result
                    })
                })
                .collect();
            let results = threads.into_iter().map(|thread| thread.join());
            results.map(|result| result.expect("no panic")).collect()
        })
    }

    fn process(
        &self,
        directory: &Path,
        transport: &Threads,
        resume: bool,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, TrainError> {
        let device = Device::flex().autodiff();
        let mut model = tiny_llama(3, &device);
        if let Some(lora) = &self.lora {
            model = model.with_lora(lora, 5).expect("the modules exist");
        }
        let run = Run {
            directory: &RunDirectory::new(directory),
            config: &RunConfig::of(&self.training).expect("settings are a table"),
            training: &self.training,
            loss: &LossArguments {
                prompt_loss_weight: 0.1,
                ..LossArguments::default()
            },
            batching: &self.batching,
            evaluation: EvaluationOptions::default(),
            train: &self.examples,
            validation: Some(&self.examples),
            test: None,
            companions: &[],
            resume,
            transport,
        };
        train(&run, model, &device, observer)
    }

    /// AdamW's first moments after the first step, which are its gradients but for a factor.
    fn first_gradients(mut self, directory: &Path, processes: usize) -> Vec<f32> {
        self.training.max_steps = Some(1);
        self.complete(directory, processes);
        first_moments(directory)
    }

    /// Trains to the end.
    fn complete(&self, directory: &Path, processes: usize) {
        for result in self.train(directory, processes, false, u64::MAX) {
            assert!(matches!(result, Ok(Outcome::Complete(_))), "{result:?}");
        }
    }
}

fn metrics(directory: &Path) -> Vec<MetricsRow> {
    let rows = RunDirectory::new(directory).read_metrics();
    rows.expect("metrics")
}

fn first_moments(directory: &Path) -> Vec<f32> {
    let path = RunDirectory::new(directory)
        .checkpoints()
        .join("step-1/trainer_state/optimizer.safetensors");
    let bytes = std::fs::read(&path).expect("saved");
    let tensors = SafeTensors::deserialize(&bytes).expect("as it was written");
    let mut first: Vec<_> = tensors.iter().collect();
    first.retain(|(name, _)| name.starts_with("first."));
    first.sort_by_key(|(name, _)| *name);
    let values = |bytes: &[u8]| -> Vec<f32> {
        let (numbers, _) = bytes.as_chunks();
        numbers
            .iter()
            .map(|number| f32::from_le_bytes(*number))
            .collect()
    };
    let all = first.iter().map(|(_, tensor)| values(tensor.data()));
    all.collect::<Vec<_>>().concat()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// Compares the steps of two runs: what they hold exactly, losses to 1e-4.
fn assert_same_steps(name: &str, found: &Path, expected: &Path) {
    let (rows, others) = (metrics(found), metrics(expected));
    assert_eq!((rows.len(), others.len()), (STEPS as usize, STEPS as usize));
    for (row, other) in rows.iter().zip(&others) {
        let held = |row: &MetricsRow| (row.step, row.tokens, row.questions, row.epoch);
        assert_eq!(held(row), held(other), "{name}");
        let losses = |row: &MetricsRow| [row.loss, row.completion_loss.expect("computed")];
        for (loss, other) in losses(row).into_iter().zip(losses(other)) {
            let difference = (loss / other - 1.0).abs();
            assert!(difference < 1e-4, "{name}, step {}: {difference}", row.step);
        }
    }
}

/// Compares gradients, to 1e-6 of their norm.
fn assert_same_gradients(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected);
    let difference = norm(differences.map(|(a, b)| f64::from(a - b)));
    let whole = norm(expected.iter().map(|&b| f64::from(b)));
    assert!(
        whole > 0.0 && difference < 1e-6 * whole,
        "{name}: {difference} of {whole}"
    );
}

#[test]
fn the_objective_does_not_depend_on_the_number_of_processes() {
    let mut unshared = Job::new();
    unshared.batching.share_prefixes = Some(false);
    let mut crossing = Job::packed();
    crossing.batching.cross_document_attention = true;
    // More processes than packs, so that some have nothing to compute.
    let mut few = Job::new();
    (
        few.training.per_device_train_batch_size,
        few.training.gradient_accumulation_steps,
    ) = (1, 2);
    // Packs without a target that counts.
    let mut weightless = Job::new();
    let sequences = weightless.examples.sequences.iter();
    let sequences = sequences.map(|mut sequence| {
        if sequence.example % 3 > 0 {
            sequence.segments.iter_mut().for_each(|s| s.weight = 0.0);
        }
        sequence
    });
    weightless.examples.sequences = sequences.collect();
    weightless.training.gradient_accumulation_steps = 4;
    let jobs = [
        ("shared prefixes", Job::new()),
        ("side by side", unshared),
        ("packed", Job::packed()),
        ("across documents", crossing),
        ("LoRA with dropout", Job::adapters()),
        ("recomputed", Job::packed().recomputed()),
        ("LoRA, recomputed", Job::adapters().recomputed()),
        ("fewer packs than processes", few),
        ("packs without targets", weightless.recomputed()),
    ];
    let folder = tempfile::tempdir().expect("a temporary directory");
    for (name, job) in jobs {
        let one = folder.path().join(name);
        job.complete(&one, 1);
        let first = job
            .clone()
            .first_gradients(&folder.path().join(format!("{name} first")), 1);
        for processes in [2, 3, 4] {
            let name = format!("{name}, {processes}");
            let several = folder.path().join(&name);
            job.complete(&several, processes);
            assert_same_steps(&name, &several, &one);
            let path = folder.path().join(format!("{name} first"));
            assert_same_gradients(
                &name,
                &job.clone().first_gradients(&path, processes),
                &first,
            );
            let predictions =
                |run: &Path| std::fs::read(RunDirectory::new(run).predictions(0)).expect("written");
            // Of the same weights.
            assert!(predictions(&several) == predictions(&one), "{name}");
        }
    }
}

#[test]
fn the_same_layout_gives_the_same_bits_with_and_without_interruptions() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for (name, job) in [
        ("packed", Job::packed()),
        ("LoRA", Job::adapters().recomputed()),
    ] {
        let remains = |directory: &Path| match &job.lora {
            None => remains_of(directory, STEPS, &[0, STEPS]),
            Some(_) => {
                let rows = metrics(directory).into_iter();
                let rows = rows.map(|row| MetricsRow {
                    seconds: 0.0,
                    ..row
                });
                let adapter = RunDirectory::new(directory)
                    .checkpoints()
                    .join("step-20/adapter_model.safetensors");
                (rows.collect(), vec![std::fs::read(adapter).expect("saved")])
            }
        };
        let whole = folder.path().join(name);
        job.complete(&whole, 3);
        let again = folder.path().join(format!("{name} again"));
        job.complete(&again, 3);
        assert!(remains(&again) == remains(&whole), "{name}");
        // One process is asked to stop after a step, and all do after the next.
        let stopped = folder.path().join(format!("{name}, stopped"));
        for result in job.train(&stopped, 3, false, 6) {
            assert_eq!(result.expect("stopped"), Outcome::Stopped { step: 7 });
        }
        for result in job.train(&stopped, 3, true, u64::MAX) {
            assert!(matches!(result, Ok(Outcome::Complete(_))), "{result:?}");
        }
        assert!(remains(&stopped) == remains(&whole), "{name}");
    }
}

#[test]
fn a_checkpoint_resumes_on_another_number_of_processes() {
    let job = Job::packed();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let whole = folder.path().join("one");
    job.complete(&whole, 1);
    let parts = folder.path().join("four, one, two");
    for (processes, stop_after, step) in [(4, 4, 5), (1, 9, 9)] {
        for result in job.train(&parts, processes, processes == 1, stop_after) {
            assert_eq!(result.expect("stopped"), Outcome::Stopped { step });
        }
    }
    for result in job.train(&parts, 2, true, u64::MAX) {
        assert!(matches!(result, Ok(Outcome::Complete(_))), "{result:?}");
    }
    assert_same_steps("four, one, two", &parts, &whole);
    // Who comes late to a complete run is told so.
    for result in job.train(&parts, 3, true, u64::MAX) {
        assert!(matches!(result, Ok(Outcome::Complete(_))), "{result:?}");
    }
}

#[test]
fn an_error_of_one_process_ends_all() {
    let job = Job::new();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let directory = folder.path().join("run");
    job.train(&directory, 2, false, 2);
    // Only the first process looks at the folder, and finds a run there.
    let results = job.train(&directory, 3, false, u64::MAX);
    assert!(matches!(results[0], Err(TrainError::RunExists { .. })));
    for result in &results[1..] {
        let aborted = TransportError::Aborted { rank: 0 };
        let is_told = matches!(result, Err(TrainError::Transport(error)) if *error == aborted);
        assert!(is_told, "{result:?}");
    }
}

#[test]
fn processes_that_do_not_share_the_folder_do_not_resume() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let place = |rank: usize| folder.path().join(format!("of-{rank}"));
    let job = Job::new();
    let stopped = job.train(&place(0), 1, false, 2);
    assert!(matches!(stopped[..], [Ok(Outcome::Stopped { step: 2 })]));
    // The same step of the same run, with other weights.
    let mut other = Job::new();
    other.training.learning_rate *= 2.0;
    for process_1_has in ["nothing", "other weights"] {
        if process_1_has == "other weights" {
            other.train(&place(1), 1, false, 2);
        }
        for result in job.train_in(&place, 2, true, u64::MAX) {
            let error = result.expect_err(process_1_has);
            let is_told = matches!(error, TrainError::OtherFolder { rank: 1, .. });
            assert!(is_told, "{process_1_has}: {error}");
        }
    }
}
