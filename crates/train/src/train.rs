//! The training loop.

use std::time::Instant;

use burn::tensor::Device;
use plw_batch::{Batch, Examples, Pack};
use plw_loss::Objective;
use plw_model::{DropoutKey, Llama};
use plw_record::{MetricsRow, append_metrics, remove_old_checkpoints};

use crate::checkpoint::{self, TrainerState};
use crate::finish::finish;
use crate::run::{Observer, Outcome, Run};
use crate::start::{Start, start};
use crate::step::lay_out;
use crate::validation::{evaluate_and_record, evaluation_due, is_due};
use crate::{Optimizer, PassOptions, Plan, StepOptions, TrainError, plan, step};

/// Trains. Each step of the plan is laid out as batches, gives a loss and gradients, is clipped,
/// updates the weights and leaves a metrics row. Evaluations and checkpoints follow where they are
/// due, and a summary comes last.
///
/// # Errors
///
/// If a setting makes no sense, a loss or gradient is not finite (the error names the step and its
/// examples), or a record cannot be written.
pub fn train(
    run: &Run<'_>,
    model: Llama,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    let objective = run.loss.objective()?;
    let plan = plan(&run.train.sequences, run.batching, run.training)?;
    let total_steps = plan.steps.len() as u64;
    let _lock = run.directory.create()?;
    let mut optimizer = Optimizer::new(run.training);
    let (mut model, mut state) = match start(run, model, &mut optimizer, device)? {
        Start::Complete(summary) => return Ok(Outcome::Complete(summary)),
        Start::At(started) => *started,
    };
    observer.started(&plan, state.step);
    // Due before the first step, and after a step whose evaluation a stop cut off.
    if evaluation_due(run, &state, total_steps) {
        let Some(improved) = evaluate_and_record(run, &model, &mut state, observer)? else {
            return Ok(Outcome::Stopped { step: state.step });
        };
        // The untrained model may be the best one. A later step's weights are in the checkpoint
        // that the run resumed from.
        if state.step == 0 && improved && run.training.load_best_model_at_end {
            save(run, &model, &optimizer, &state)?;
        }
    }
    let first_timed = state.step + 3;
    while state.step < total_steps {
        let row;
        (model, row) = take_step(run, &plan, state.step, objective, model, &mut optimizer)?;
        count(&mut state, &row, first_timed);
        if is_due(Some(run.training.logging_steps), row.step, total_steps) {
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
        let keep = evaluated.is_none_or(|best| best && run.training.load_best_model_at_end);
        if keep || is_due(run.training.save_steps, state.step, total_steps) {
            save(run, &model, &optimizer, &state)?;
        }
        if evaluated.is_none() {
            return Ok(Outcome::Stopped { step: state.step });
        }
    }
    finish(run, model, &plan, state, device, observer)
}

/// Takes the step of the plan that follows the first `taken`.
fn take_step(
    run: &Run<'_>,
    plan: &Plan,
    taken: u64,
    objective: Objective,
    model: Llama,
    optimizer: &mut Optimizer,
) -> Result<(Llama, MetricsRow), TrainError> {
    let began = Instant::now();
    let (training, sequences) = (run.training, &run.train.sequences);
    let (index, number) = (taken as usize, taken + 1);
    let total_steps = plan.steps.len() as u64;
    let packs = &plan.steps[index];
    let (batches, normalizer) = lay_out(sequences, packs, run.batching, training, objective)
        .map_err(|error| name_members(error, number, run.train, packs))?;
    let options = StepOptions {
        learning_rate: training.schedule(total_steps).learning_rate(number),
        max_grad_norm: training.max_grad_norm,
        pass: PassOptions {
            gradient_checkpointing: training.gradient_checkpointing,
            dropout: Some(DropoutKey {
                seed: training.seed,
                step: number,
            }),
        },
    };
    let (model, result) = step(model, optimizer, &batches, &normalizer, &options)
        .map_err(|error| name_examples(error, run.train, &batches))?;
    let total = |of: fn(&Batch) -> usize| batches.iter().map(|batch| of(batch) as u64).sum();
    let row = MetricsRow {
        step: number,
        loss: result.loss,
        prompt_loss: result.losses.prompt,
        completion_loss: result.losses.completion,
        answer_loss: result.losses.answer,
        grad_norm: result.grad_norm,
        learning_rate: options.learning_rate,
        epoch: plan.epochs[index],
        tokens: total(Batch::tokens),
        tokens_computed: total(Batch::positions),
        questions: total(|batch| batch.sequences.len()),
        seconds: began.elapsed().as_secs_f64(),
    };
    Ok((model, row))
}

/// Adds a step to the run's totals. The speed is taken from the steps from `first_timed` on.
fn count(state: &mut TrainerState, row: &MetricsRow, first_timed: u64) {
    state.step = row.step;
    state.tokens += row.tokens;
    state.tokens_computed += row.tokens_computed;
    state.questions += row.questions;
    state.seconds += row.seconds;
    state.train_loss = Some(row.loss);
    if row.step >= first_timed {
        state.timed_tokens += row.tokens;
        state.timed_questions += row.questions;
        state.timed_seconds += row.seconds;
    }
}

/// Writes a checkpoint and removes those that the settings no longer keep.
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

/// Adds the step and its examples to an error of its weights.
fn name_members(error: TrainError, step: u64, examples: &Examples, packs: &[Pack]) -> TrainError {
    match error {
        TrainError::Weight(cause) => {
            let members = packs.iter().flat_map(|pack| &pack.members);
            let keys = members.map(|&index| examples.key(index));
            let places: Vec<String> = keys
                .map(|key| format!("{} row {}", key.file, key.row))
                .collect();
            TrainError::NothingCounts {
                step,
                cause,
                examples: places.join(", "),
            }
        }
        other => other,
    }
}

/// Adds the names of the step's examples to an error that lacks them.
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
