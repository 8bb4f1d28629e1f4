//! The training loop.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use plw_batch::Batch;
use plw_eval::{EvaluationOptions, Examples, evaluate};
use plw_model::{DropoutKey, Llama};
use plw_record::{
    EvaluationRow, Machine, MetricsRow, RunConfig, RunDirectory, TrainingSummary,
    append_evaluation, append_metrics, checkpoint_name, peak_memory_bytes, remove_old_checkpoints,
    write_predictions,
};

use crate::checkpoint::{self, TrainerState};
use crate::start::{Start, restore, start};
use crate::{
    BatchingArguments, LossArguments, Optimizer, Plan, TrainError, TrainingArguments,
    learning_rate, micro_batches, plan, step,
};

/// A run: its settings, its data and where it leaves its records.
pub struct Run<'a> {
    /// Where it leaves its records.
    pub directory: &'a RunDirectory,
    /// Everything that decides the result, resolved.
    pub config: &'a RunConfig,
    /// Steps, schedule and optimizer.
    pub training: &'a TrainingArguments,
    /// What tokens count.
    pub loss: &'a LossArguments,
    /// Which examples a step holds.
    pub batching: &'a BatchingArguments,
    /// How to evaluate.
    pub evaluation: EvaluationOptions,
    /// What to train on.
    pub train: &'a Examples,
    /// What to evaluate on before the first step, every `eval_steps` and at the end.
    pub validation: Option<&'a Examples>,
    /// What the result is evaluated on, once.
    pub test: Option<&'a Examples>,
    /// Files that belong beside the weights: the tokenizer's.
    pub companions: &'a [PathBuf],
    /// Whether to go on with a run that is there already.
    pub resume: bool,
}

/// Told what a run does, and asked whether it should stop.
pub trait Observer {
    /// The run starts, or goes on after `from_step`.
    fn started(&mut self, _plan: &Plan, _from_step: u64) {}
    /// A step was taken.
    fn stepped(&mut self, _row: &MetricsRow) {}
    /// So many of an evaluation's examples are done.
    fn evaluating(&mut self, _done: usize, _total: usize) {}
    /// An evaluation is done.
    fn evaluated(&mut self, _row: &EvaluationRow) {}
    /// Whether the run should stop at a complete checkpoint.
    fn should_stop(&self) -> bool {
        false
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All steps were taken.
    Complete(Box<TrainingSummary>),
    /// It was asked to stop, and can be resumed.
    Stopped {
        /// The last step taken; its checkpoint is complete. 0 has none: the run starts again.
        step: u64,
    },
}

/// Trains: for every step of the plan a batch, loss and gradients, clipping, AdamW, a metrics row; evaluations and checkpoints
/// where they are due; a summary last.
///
/// # Errors
///
/// Settings that make no sense, a loss or gradient that is not finite (naming the step and the batch's examples), records that cannot be
/// written.
pub fn train(
    run: &Run<'_>,
    model: Llama,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    let weights = run.loss.weights()?;
    let plan = plan(&run.train.sequences, run.batching, run.training)?;
    let total_steps = plan.steps.len() as u64;
    let _lock = run.directory.create()?;
    let mut optimizer = Optimizer::new(run.training);
    let (mut model, mut state) = match start(run, model, &mut optimizer, device)? {
        Start::Complete(summary) => return Ok(Outcome::Complete(summary)),
        Start::At(started) => *started,
    };
    observer.started(&plan, state.step);
    // Due before the first step; and after a step whose evaluation a stop cut off.
    if evaluation_due(run, &state, total_steps) {
        match evaluate_and_record(run, &model, &mut state, observer)? {
            None => return Ok(Outcome::Stopped { step: state.step }),
            // No step may be better than none. A later step's weights are in the checkpoint that was resumed from.
            Some(improved) => {
                if state.step == 0 && improved && run.training.load_best_model_at_end {
                    save(run, &model, &optimizer, &state)?;
                }
            }
        }
    }
    let warmup = run.training.warmup(total_steps);
    let first_timed = state.step + 3;
    while state.step < total_steps {
        let began = Instant::now();
        let number = state.step + 1;
        let rows = &plan.steps[state.step as usize];
        let batches = micro_batches(
            &run.train.sequences,
            rows,
            run.training.per_device_train_batch_size,
            run.batching,
        );
        let rate = learning_rate(
            run.training.lr_scheduler_type,
            run.training.learning_rate,
            number,
            warmup,
            total_steps,
        );
        let dropout = DropoutKey {
            seed: run.training.seed,
            step: number,
        };
        let (stepped, result) = step(
            model,
            &mut optimizer,
            &batches,
            weights,
            run.loss.normalization,
            rate,
            run.training.max_grad_norm,
            run.training.gradient_checkpointing,
            &dropout,
        )
        .map_err(|error| name_examples(error, run.train, &batches))?;
        model = stepped;
        let row = MetricsRow {
            step: number,
            loss: result.loss,
            prompt_loss: result.losses.prompt,
            completion_loss: result.losses.completion,
            answer_loss: result.losses.answer,
            grad_norm: result.grad_norm,
            learning_rate: rate,
            epoch: plan.epochs[state.step as usize],
            tokens: batches.iter().map(|batch| batch.tokens() as u64).sum(),
            tokens_computed: batches.iter().map(|batch| batch.positions() as u64).sum(),
            questions: batches
                .iter()
                .map(|batch| batch.sequences.len() as u64)
                .sum(),
            seconds: began.elapsed().as_secs_f64(),
        };
        count(&mut state, &row, number >= first_timed);
        if number.is_multiple_of(run.training.logging_steps) || number == total_steps {
            append_metrics(run.directory.metrics(), &row)?;
        }
        observer.stepped(&row);
        // A stop leaves an evaluation that is due to the resumed run.
        let evaluated = match observer.should_stop() {
            true => None,
            false if evaluation_due(run, &state, total_steps) => {
                evaluate_and_record(run, &model, &mut state, observer)?
            }
            false => Some(false),
        };
        if evaluated.is_none_or(|improved| improved && run.training.load_best_model_at_end)
            || is_due(run.training.save_steps, number, total_steps)
        {
            save(run, &model, &optimizer, &state)?;
        }
        if evaluated.is_none() {
            return Ok(Outcome::Stopped { step: number });
        }
    }
    finish(run, model, &plan, state, device, observer)
}

/// Whether something is due after a step that is due every so many, and after the last.
fn is_due(every: Option<u64>, step: u64, total_steps: u64) -> bool {
    step == total_steps || every.is_some_and(|every| step.is_multiple_of(every))
}

/// Whether the validation questions are to be evaluated now: before the first step, where the settings say, and after the
/// last, once each.
fn evaluation_due(run: &Run<'_>, state: &TrainerState, total_steps: u64) -> bool {
    let step = state.step;
    run.validation.is_some()
        && (step == 0 || is_due(run.training.eval_steps, step, total_steps))
        && state.last.as_ref().is_none_or(|last| last.step != step)
}

fn count(state: &mut TrainerState, row: &MetricsRow, timed: bool) {
    state.step = row.step;
    state.tokens += row.tokens;
    state.tokens_computed += row.tokens_computed;
    state.questions += row.questions;
    state.seconds += row.seconds;
    state.train_loss = Some(row.loss);
    if timed {
        state.timed_tokens += row.tokens;
        state.timed_questions += row.questions;
        state.timed_seconds += row.seconds;
    }
}

/// Evaluates on the validation questions and records it; says whether it is the best so far. `None` where the run was
/// asked to stop meanwhile: nothing is recorded then.
fn evaluate_and_record(
    run: &Run<'_>,
    model: &Llama,
    state: &mut TrainerState,
    observer: &mut dyn Observer,
) -> Result<Option<bool>, TrainError> {
    let Some(validation) = run.validation else {
        return Ok(Some(false));
    };
    let Some(row) = evaluate_on(run, model, validation, "validation", state.step, observer)? else {
        return Ok(None);
    };
    let accuracy = |row: &EvaluationRow| row.summary.accuracy.accuracy;
    let improved = state
        .best
        .as_ref()
        .is_none_or(|best| accuracy(&row) > accuracy(best));
    if improved {
        state.best = Some(row.clone());
    }
    if state.initial.is_none() {
        state.initial = Some(row.clone());
    }
    state.last = Some(row);
    Ok(Some(improved))
}

fn evaluate_on(
    run: &Run<'_>,
    model: &Llama,
    examples: &Examples,
    split: &str,
    step: u64,
    observer: &mut dyn Observer,
) -> Result<Option<EvaluationRow>, TrainError> {
    let total = examples.len();
    let evaluation = evaluate(&model.valid(), examples, &run.evaluation, &mut |done| {
        observer.evaluating(done, total);
        match observer.should_stop() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    let Some(evaluation) = evaluation else {
        return Ok(None);
    };
    if !evaluation.predictions.is_empty() {
        write_predictions(
            run.directory.predictions_of(split, step),
            &evaluation.predictions,
        )?;
    }
    let row = EvaluationRow {
        step,
        split: split.to_string(),
        summary: evaluation.summary(),
    };
    append_evaluation(run.directory.evaluations(), &row)?;
    observer.evaluated(&row);
    Ok(Some(row))
}

fn save(
    run: &Run<'_>,
    model: &Llama,
    optimizer: &Optimizer,
    state: &TrainerState,
) -> Result<(), TrainError> {
    let directory = run.directory.checkpoints();
    checkpoint::save(&directory, model, optimizer, state, run.companions)?;
    if let Some(limit) = run.training.save_total_limit {
        let best = state
            .best
            .as_ref()
            .filter(|_| run.training.load_best_model_at_end)
            .map(|best| best.step);
        remove_old_checkpoints(&directory, limit, best.as_slice())?;
    }
    Ok(())
}

/// Puts the names of a batch's examples into an error that lacks them.
fn name_examples(error: TrainError, examples: &Examples, batches: &[Batch]) -> TrainError {
    match error {
        TrainError::NotFinite {
            what, value, step, ..
        } => {
            let names: Vec<String> = batches
                .iter()
                .flat_map(|batch| &batch.sequences)
                .map(|sequence| examples.key(sequence.example))
                .map(|key| format!("{} ({} row {})", key.example_id, key.file, key.row))
                .collect();
            TrainError::NotFinite {
                what,
                value,
                step,
                examples: names.join(", "),
            }
        }
        other => other,
    }
}

/// Evaluates the result on the test questions if there are any, and writes the summary; a stop meanwhile leaves both to
/// the resumed run.
fn finish(
    run: &Run<'_>,
    model: Llama,
    plan: &Plan,
    state: TrainerState,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    let best = state
        .best
        .clone()
        .filter(|_| run.training.load_best_model_at_end);
    let (parameters, trainable_parameters) = count_parameters(&model);
    let test = match run.test {
        None => None,
        Some(examples) => {
            let (step, chosen) = match &best {
                Some(best) if best.step != state.step => {
                    let name = checkpoint_name(best.step);
                    let path = run.directory.checkpoints().join(name);
                    let restored = restore(model, &path, device);
                    let restored = restored.map_err(|problem| TrainError::BestCheckpoint {
                        path,
                        problem: problem.to_string(),
                    });
                    (best.step, restored?)
                }
                _ => (state.step, model),
            };
            let row = evaluate_on(run, &chosen, examples, "test", step, observer)?;
            if row.is_none() {
                return Ok(Outcome::Stopped { step: state.step });
            }
            row
        }
    };
    let per_second =
        |count: u64| (state.timed_seconds > 0.0).then(|| count as f64 / state.timed_seconds);
    let summary = TrainingSummary {
        name: run.directory.name(),
        config_hash: run.config.hash(),
        steps: state.step,
        epochs: plan.epochs.last().copied().unwrap_or(0.0),
        test,
        best,
        train_loss: state.train_loss,
        tokens: state.tokens,
        tokens_computed: state.tokens_computed,
        questions: state.questions,
        seconds: state.seconds,
        tokens_per_second: per_second(state.timed_tokens),
        questions_per_second: per_second(state.timed_questions),
        peak_memory_bytes: peak_memory_bytes(),
        parameters,
        trainable_parameters,
        examples: run.train.len() as u64,
        dropped_examples: run.train.dropped,
        skipped_rows: run.train.skipped_rows,
        packing_density: plan.packing.map(|packing| packing.density),
        packing_compression: plan.packing.map(|packing| packing.compression),
        machine: Machine::this(),
        initial: state.initial,
        last: state.last,
    };
    summary.write(run.directory.summary())?;
    Ok(Outcome::Complete(Box::new(summary)))
}

/// Number of parameters: all, and those that are trained.
fn count_parameters(model: &Llama) -> (u64, u64) {
    model
        .parameters()
        .iter()
        .fold((0, 0), |(all, trained), parameter| {
            let count = parameter.shape.iter().product::<usize>() as u64;
            (
                all + count,
                trained + if parameter.trainable { count } else { 0 },
            )
        })
}
