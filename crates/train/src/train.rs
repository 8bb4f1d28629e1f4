//! The training loop.

use std::time::Instant;

use burn::tensor::Device;
use plw_batch::{Batch, Examples, Pack};
use plw_kernels::{has_queue, return_pages};
use plw_loss::Objective;
use plw_model::{DropoutKey, Llama, WeightType};
use plw_record::{MetricsRow, RecordError, RunLock, append_metrics, remove_old_checkpoints};

use crate::checkpoint::{save, update_state};
use crate::division::lay_out_share;
use crate::finish::finish;
use crate::pages;
use crate::run::{Observer, Outcome, Run};
use crate::start::Start;
use crate::start_together::start_together;
use crate::step::queue_step_unless;
use crate::trainer_state::TrainerState;
use crate::validation::{evaluate_and_record, evaluation_due};
use crate::{Optimizer, PassOptions, PlannedStep, QueuedStep, StepOptions, TrainError, plan};

/// Trains. Each step of the plan is laid out as batches, gives a loss and gradients, is clipped,
/// updates the weights and leaves a metrics row. Evaluations and checkpoints follow where they are
/// due, and a summary comes last. Several processes share the work, and the first writes.
///
/// # Errors
///
/// If a setting makes no sense, a loss, gradient or weight is not finite (the error names the step
/// and its examples), a checkpoint or log is not as the run left it, a record cannot be written, or
/// another process has ended. A process that returns an error should say it and then call
/// [`plw_transport::Transport::abort`], because the others wait for it.
pub fn train(
    run: &Run<'_>,
    model: Llama,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    let objective = run.loss.objective()?;
    let plan = plan(&run.train.sequences, run.batching, run.training)?;
    let total_steps = plan.total_steps;
    check_saved_type(run, &model)?;
    let lock = match run.transport.rank() {
        0 => Some(run.directory.create()?),
        _ => None,
    };
    let lock = lock.as_ref();
    let mut optimizer = Optimizer::new(run.training);
    let found = start_together(run, total_steps, model, &mut optimizer, device, observer)?;
    let (mut model, mut state, beginning) = match found {
        Start::Complete(summary) => return Ok(Outcome::Complete(summary)),
        Start::At(started) => *started,
    };
    let waits = !has_queue(device);
    if !waits {
        pages::prepare(run, &plan, state.step, &model, device);
    }
    observer.started(&plan, beginning);
    // Due before the first step, and after a step whose evaluation a stop cut off.
    if evaluation_due(run, &state, total_steps) {
        let evaluated = evaluate_and_record(run, lock, &model, &mut state, observer)?;
        let Some(improved) = evaluated else {
            return Ok(Outcome::Stopped { step: state.step });
        };
        // A later step's weights are in the checkpoint that the run resumed from, whose state
        // lacks the evaluation. The untrained model may be the best one.
        if state.step > 0 {
            update_state(run, lock, &state)?;
        } else if improved && run.training.load_best_model_at_end {
            save(run, lock, &model, &optimizer, &state)?;
        }
    }
    let first_timed = state.step + 3;
    // Whether the last checkpoint's weights have yet to show that they give a finite loss. Until
    // then the checkpoints before it stay.
    let mut unproven = true;
    let mut logged_until = None;
    let mut queued: Option<QueuedRow> = None;
    let mut stop = false;
    let mut finished = Instant::now();
    // The step whose state is on disk, or needs no place there.
    let mut saved = state.step;
    for planned in plan.steps_after(state.step) {
        let before = queued.take();
        let next;
        let part = (&planned, total_steps, objective);
        let gives_up = || observer.should_stop();
        (model, next) = queue(run, part, model, &mut optimizer, &gives_up)?;
        return_pages(device);
        // What a step came to is read when the device has the next one, unless something follows
        // the step that needs to know. A step that was given up leaves nothing to read.
        let is_last = waits
            || stops(run, observer, stop)
            || something_follows(run, planned.number, total_steps);
        let last = match next {
            Some(mut next) if !is_last => {
                next.handed_over = Some(Instant::now());
                queued = Some(next);
                None
            }
            last => last,
        };
        for row in [before, last].into_iter().flatten() {
            let (row, agreed) = row.wait(run, &mut finished, observer.should_stop())?;
            stop |= agreed;
            lock.map_or(Ok(()), RunLock::check)?;
            if std::mem::take(&mut unproven) {
                remove_surplus(run, lock, &state)?;
            }
            count(&mut state, &row, first_timed);
            if lock.is_some() && run.training.logs_after(row.step, total_steps) {
                log(run, &row, &mut logged_until)?;
            }
            observer.stepped(&row);
        }
        if queued.is_some() {
            continue;
        }
        // A stop leaves an evaluation that is due to the resumed run.
        let evaluated = match stops(run, observer, stop) {
            true => None,
            false if evaluation_due(run, &state, total_steps) => {
                evaluate_and_record(run, lock, &model, &mut state, observer)?
            }
            false => Some(false),
        };
        let keep = evaluated.is_none_or(|best| best && run.training.load_best_model_at_end);
        let is_due = keep || run.training.saves_after(state.step, total_steps);
        if is_due && saved != state.step {
            save(run, lock, &model, &optimizer, &state)?;
            (saved, unproven) = (state.step, true);
        }
        if evaluated.is_none() {
            return Ok(Outcome::Stopped { step: state.step });
        }
        finished = Instant::now();
    }
    remove_surplus(run, lock, &state)?;
    finish(run, lock, model, &plan, state, device, observer)
}

/// Adapters are small, and stay in f32.
fn check_saved_type(run: &Run<'_>, model: &Llama) -> Result<(), TrainError> {
    let dtype = run.training.save_dtype;
    if model.lora().is_some() && dtype != WeightType::F32 {
        let expected = "float32 with LoRA, whose checkpoints hold the adapter alone";
        return Err(TrainError::setting("save_dtype", dtype.name(), expected));
    }
    Ok(())
}

/// Whether the run is asked to stop. Several processes stop after the same step: the one at which
/// all of them know that one was asked to.
fn stops(run: &Run<'_>, observer: &dyn Observer, agreed: bool) -> bool {
    match run.transport.world_size() {
        1 => observer.should_stop(),
        _ => agreed,
    }
}

/// Whether an evaluation or a checkpoint follows a step.
fn something_follows(run: &Run<'_>, step: u64, total_steps: u64) -> bool {
    let evaluates = run.validation.is_some() && run.training.evaluates_after(step, total_steps);
    evaluates || run.training.saves_after(step, total_steps)
}

/// A step that was queued on the device, and its row of the metrics but for what the device has yet
/// to tell.
struct QueuedRow {
    number: u64,
    epoch: f64,
    learning_rate: f64,
    /// This process's.
    batches: Vec<Batch>,
    /// The sequences of the step.
    members: Vec<u32>,
    queued: QueuedStep,
    began: Instant,
    /// When all of it was queued, where its results are read after another step's. The queue of a
    /// device holds less than a step, so that this is about when the device has it done.
    handed_over: Option<Instant>,
}

/// Queues a step of the plan. There is none, and the model is as it was, if `gives_up` says so
/// between two micro-batches.
fn queue(
    run: &Run<'_>,
    (planned, total_steps, objective): (&PlannedStep, u64, Objective),
    model: Llama,
    optimizer: &mut Optimizer,
    gives_up: &dyn Fn() -> bool,
) -> Result<(Llama, Option<QueuedRow>), TrainError> {
    let began = Instant::now();
    let (training, sequences) = (run.training, &run.train.sequences);
    let PlannedStep {
        number,
        packs,
        epoch,
    } = planned;
    let transport = run.transport;
    let laid_out = lay_out_share(
        sequences,
        packs,
        run.batching,
        training,
        objective,
        transport,
    );
    let (batches, normalizer) =
        laid_out.map_err(|error| name_members(error, *number, run.train, packs))?;
    let options = StepOptions {
        learning_rate: training.schedule(total_steps).learning_rate(*number),
        max_grad_norm: training.max_grad_norm,
        pass: PassOptions {
            gradient_checkpointing: training.gradient_checkpointing,
            dropout: Some(DropoutKey {
                seed: training.seed,
                step: *number,
            }),
        },
    };
    let step = (batches.as_slice(), &normalizer);
    let (model, queued) = queue_step_unless(gives_up, model, optimizer, step, &options, transport)?;
    let row = queued.map(|queued| QueuedRow {
        number: *number,
        epoch: *epoch,
        learning_rate: options.learning_rate,
        batches,
        members: packs
            .iter()
            .flat_map(|pack| &pack.members)
            .copied()
            .collect(),
        queued,
        began,
        handed_over: None,
    });
    Ok((model, row))
}

impl QueuedRow {
    /// Waits for the device. A step's time is that from its beginning, or from when the step before
    /// it had `finished`. Also says whether a process was asked to stop, this one by `stop`.
    fn wait(
        self,
        run: &Run<'_>,
        finished: &mut Instant,
        stop: bool,
    ) -> Result<(MetricsRow, bool), TrainError> {
        let result = self
            .queued
            .wait(&self.batches, run.transport, stop)
            .map_err(|error| name_examples(error, run.train, &self.members))?;
        let ended = self.handed_over.unwrap_or_else(Instant::now);
        let began = std::mem::replace(finished, ended).max(self.began);
        let row = MetricsRow {
            step: self.number,
            loss: result.loss,
            prompt_loss: result.losses.prompt,
            completion_loss: result.losses.completion,
            answer_loss: result.losses.answer,
            grad_norm: result.grad_norm,
            learning_rate: self.learning_rate,
            epoch: self.epoch,
            tokens: result.counts.tokens,
            tokens_computed: result.counts.positions,
            questions: result.counts.sequences,
            seconds: (ended - began).as_secs_f64(),
        };
        Ok((row, result.stop))
    }
}

/// Appends a row to the metrics, which must still end where this process left them.
fn log(run: &Run<'_>, row: &MetricsRow, logged_until: &mut Option<u64>) -> Result<(), TrainError> {
    let path = run.directory.metrics();
    let place = append_metrics(&path, row)?;
    match logged_until.replace(place.end) {
        Some(end) if end != place.start => Err(TrainError::Record(RecordError::Rows {
            path,
            problem: "it was changed while the run was writing to it".to_string(),
        })),
        _ => Ok(()),
    }
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

/// Removes the checkpoints that the settings no longer keep. A process without the lock removes
/// nothing.
fn remove_surplus(
    run: &Run<'_>,
    lock: Option<&RunLock>,
    state: &TrainerState,
) -> Result<(), TrainError> {
    let Some(limit) = run.training.save_total_limit.filter(|_| lock.is_some()) else {
        return Ok(());
    };
    let best = state
        .best
        .as_ref()
        .filter(|_| run.training.load_best_model_at_end)
        .map(|best| best.step);
    let directory = run.directory.checkpoints();
    Ok(remove_old_checkpoints(directory, limit, best.as_slice())?)
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
fn name_examples(mut error: TrainError, examples: &Examples, members: &[u32]) -> TrainError {
    if let TrainError::NotFinite {
        examples: names, ..
    }
    | TrainError::WeightsNotFinite {
        examples: names, ..
    } = &mut error
    {
        let all: Vec<String> = members
            .iter()
            .map(|&index| examples.key(index))
            .map(|key| format!("{} ({} row {})", key.example_id, key.file, key.row))
            .collect();
        *names = all.join(", ");
    }
    error
}
