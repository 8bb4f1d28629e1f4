//! An invented sweep: the records that `plw sweep` writes, with accuracies known beforehand.

use std::path::Path;

use plw_batch::{ExampleKey, option_letter};
use plw_record::{
    EvaluationRow, EvaluationSummary, Machine, MetricsRow, PredictionRow, RecordError, RunConfig,
    RunDirectory, TrainingSummary, append_evaluation, append_metrics, write_predictions,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What an invented run is like.
pub(crate) struct DemoRun<'a> {
    pub(crate) name: String,
    /// Lines of its `config.toml`.
    pub(crate) config: String,
    /// Passages, four questions each. Of no options: conversations.
    pub(crate) passages: u64,
    /// Options of a question; 0 for conversations, which have none to choose among.
    pub(crate) options: usize,
    /// Probability of a right answer before and after training.
    pub(crate) accuracy: [f64; 2],
    pub(crate) completion_loss: f64,
    pub(crate) prompt_loss: f64,
    pub(crate) seed: u64,
    pub(crate) steps: u64,
    pub(crate) levels: &'a [&'a str],
}

impl Default for DemoRun<'_> {
    fn default() -> Self {
        Self {
            name: "run".to_string(),
            config: String::new(),
            passages: 60,
            options: 4,
            accuracy: [0.26, 0.6],
            completion_loss: 0.4,
            prompt_loss: 2.4,
            seed: 1,
            steps: 200,
            levels: &["high", "middle"],
        }
    }
}

/// Predictions with an expected accuracy. How hard a question and its passage are does not depend
/// on the run.
pub(crate) fn predictions(run: &DemoRun, accuracy: f64, noise_seed: u64) -> Vec<PredictionRow> {
    let mut questions = ChaCha8Rng::seed_from_u64(1);
    let mut noise = ChaCha8Rng::seed_from_u64(noise_seed);
    let mut rows = Vec::new();
    for passage in 0..run.passages {
        let ease: f64 = questions.random_range(-0.2..0.2);
        for question in 0..4 {
            let hardness: f64 = questions.random_range(-0.25..0.25);
            let luck: f64 = noise.random_range(-0.15..0.15);
            let answer = ((passage + question) % run.options as u64) as usize;
            let is_right = accuracy + ease + hardness + luck > 0.5;
            let choice = if is_right {
                answer
            } else {
                (answer + 1) % run.options
            };
            let level = run.levels[passage as usize % run.levels.len()];
            rows.push(PredictionRow {
                key: ExampleKey {
                    file: "validation.parquet".into(),
                    row: 4 * passage + question,
                    example_id: format!("{level}{passage}"),
                    level: level.into(),
                    answer: Some(option_letter(answer)),
                },
                choice: Some(option_letter(choice)),
                logits: (0..run.options)
                    .map(|option| if option == choice { 2.0 } else { 0.0 })
                    .collect(),
                argmax_is_answer: is_right && noise.random_bool(0.95),
                prompt_loss: Some(run.prompt_loss as f32),
                completion_loss: Some(run.completion_loss as f32),
                answer_loss: Some(run.completion_loss as f32),
                completion_tokens: Some(2),
            });
        }
    }
    rows
}

/// Predictions for conversations with an expected completion loss, the last of which has no token
/// that counts. How long and how hard a conversation is does not depend on the run.
pub(crate) fn completions(run: &DemoRun, loss: f64, noise_seed: u64) -> Vec<PredictionRow> {
    let mut conversations = ChaCha8Rng::seed_from_u64(1);
    // Models of equal loss are one model.
    let mut noise = ChaCha8Rng::seed_from_u64(noise_seed ^ loss.to_bits());
    let row = |row| {
        let tokens: u64 = conversations.random_range(5..200);
        let hardness: f64 = conversations.random_range(-0.3..0.3);
        let luck: f64 = noise.random_range(-0.2..0.2);
        let is_scored = row < run.passages;
        PredictionRow {
            key: ExampleKey {
                file: "validation.jsonl".into(),
                row,
                example_id: format!("validation-{row}"),
                level: "chats".into(),
                answer: None,
            },
            choice: None,
            logits: Vec::new(),
            argmax_is_answer: false,
            prompt_loss: Some(run.prompt_loss as f32),
            completion_loss: is_scored.then_some((loss + hardness + luck) as f32),
            answer_loss: None,
            completion_tokens: Some(if is_scored { tokens } else { 0 }),
        }
    };
    (0..=run.passages).map(row).collect()
}

/// The mean loss of a completion token of these predictions, in the order of the rows.
pub(crate) fn completion_loss(rows: &[PredictionRow]) -> f64 {
    let (mut sum, mut tokens) = (0.0, 0.0);
    for row in rows {
        let count = row.completion_tokens.unwrap_or(0) as f64;
        sum += f64::from(row.completion_loss.unwrap_or(0.0)) * count;
        tokens += count;
    }
    sum / tokens
}

/// Writes a complete run.
pub(crate) fn write_run(sweep: &Path, run: &DemoRun) -> Result<RunDirectory, RecordError> {
    let directory = RunDirectory::new(sweep.join(&run.name));
    let _lock = directory.create()?;
    let config = RunConfig {
        table: run
            .config
            .parse()
            .expect("the invented configuration is TOML"),
    };
    config.write(directory.config())?;
    let mut random = ChaCha8Rng::seed_from_u64(100 + run.seed);
    write_metrics(&directory, run, &mut random)?;
    let evaluations = write_evaluations(&directory, run, &mut random)?;
    directory.write_summary(&TrainingSummary {
        name: run.name.clone(),
        config_hash: config.hash(),
        steps: run.steps,
        epochs: 1.0,
        initial: evaluations.first().cloned(),
        last: evaluations.last().cloned(),
        tokens: 900 * run.steps,
        tokens_computed: 1000 * run.steps,
        questions: 12 * run.steps,
        seconds: 0.4 * run.steps as f64,
        tokens_per_second: Some(2250.0),
        questions_per_second: Some(30.0),
        peak_memory_bytes: Some(300 << 20),
        device_memory_bytes: None,
        // Not this machine's, so that reports of equal records are equal everywhere.
        machine: Machine {
            processor: "an invented processor".to_string(),
            threads: 2,
            ..Machine::default()
        },
        ..TrainingSummary::default()
    })?;
    Ok(directory)
}

/// A noisy loss that falls toward the run's completion loss, step by step.
fn write_metrics(
    directory: &RunDirectory,
    run: &DemoRun,
    random: &mut ChaCha8Rng,
) -> Result<(), RecordError> {
    for step in 1..=run.steps {
        let share = step as f64 / run.steps as f64;
        let loss = run.completion_loss
            + 1.1 * (-4.0 * share).exp()
            + 0.12 * random.random_range(-1.0..1.0);
        let row = MetricsRow {
            step,
            loss,
            prompt_loss: None,
            completion_loss: Some(loss),
            answer_loss: Some(loss),
            grad_norm: 1.0,
            learning_rate: 1e-3,
            epoch: share,
            tokens: 900,
            tokens_computed: 1000,
            questions: 12,
            seconds: 0.4,
        };
        append_metrics(directory.metrics(), &row)?;
    }
    Ok(())
}

/// Five evaluations from step 0 to the last; the first and the last keep their predictions.
fn write_evaluations(
    directory: &RunDirectory,
    run: &DemoRun,
    random: &mut ChaCha8Rng,
) -> Result<Vec<EvaluationRow>, RecordError> {
    let mut evaluations = Vec::new();
    for part in 0..=4 {
        let share = f64::from(part) / 4.0;
        let step = run.steps * part as u64 / 4;
        let accuracy = run.accuracy[0] + (run.accuracy[1] - run.accuracy[0]) * share.sqrt();
        // All runs start from one model.
        let noise_seed = if part == 0 {
            0
        } else {
            1000 * run.seed + part as u64
        };
        let loss = run.completion_loss + (1.0 - share);
        let rows = match run.options {
            0 => completions(run, 1.6 + (run.completion_loss - 1.6) * share, noise_seed),
            _ => predictions(run, accuracy, noise_seed),
        };
        let loss = match run.options {
            0 => completion_loss(&rows),
            _ => loss + 0.01 * random.random_range(-1.0..1.0),
        };
        let summary = EvaluationSummary {
            prompt_loss: Some(run.prompt_loss + 0.3 * (1.0 - share)),
            completion_loss: Some(loss),
            perplexity: Some(loss.exp()),
            answer_loss: (run.options > 0).then_some(run.completion_loss),
            ..EvaluationSummary::of(&rows)
        };
        let row = EvaluationRow {
            step,
            split: "validation".to_string(),
            summary,
        };
        append_evaluation(directory.evaluations(), &row)?;
        if part == 0 || part == 4 {
            write_predictions(directory.predictions(step), &rows)?;
        }
        evaluations.push(row);
    }
    Ok(evaluations)
}

/// A sweep over weights and seeds: the middle weights do best, by 3 points over weight 1.
pub(crate) fn write_sweep(
    sweep: &Path,
    weights: &[f64],
    seeds: u64,
    passages: u64,
) -> Result<(), RecordError> {
    let kind = DemoRun {
        passages,
        ..DemoRun::default()
    };
    write_sweep_of(sweep, weights, seeds, &kind)
}

/// A sweep like [`write_sweep`] of runs on conversations: the middle weights have the lowest loss.
pub(crate) fn write_completion_sweep(
    sweep: &Path,
    weights: &[f64],
    seeds: u64,
    conversations: u64,
) -> Result<(), RecordError> {
    let kind = DemoRun {
        passages: conversations,
        options: 0,
        ..DemoRun::default()
    };
    write_sweep_of(sweep, weights, seeds, &kind)
}

fn write_sweep_of(
    sweep: &Path,
    weights: &[f64],
    seeds: u64,
    kind: &DemoRun,
) -> Result<(), RecordError> {
    for &weight in weights {
        for seed in 1..=seeds {
            let log_weight = weight.max(1e-4).log10();
            write_run(
                sweep,
                &DemoRun {
                    name: format!("plw-{weight}-seed-{seed}"),
                    config: format!(
                        "model = \"tiny\"\nlearning_rate = 1e-3\n\
                         prompt_loss_weight = {weight:?}\nseed = {seed}\n"
                    ),
                    passages: kind.passages,
                    options: kind.options,
                    accuracy: [0.27, 0.62 - 0.03 * (log_weight + 1.5).powi(2)],
                    completion_loss: 0.42 + 0.02 * (log_weight + 1.5).powi(2),
                    prompt_loss: 2.2 - 0.15 * log_weight,
                    seed,
                    ..DemoRun::default()
                },
            )?;
        }
    }
    Ok(())
}
