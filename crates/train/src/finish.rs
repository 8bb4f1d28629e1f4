//! The end of a run: the test questions and the summary.

use burn::tensor::Device;
use plw_kernels::reserved_memory;
use plw_model::Llama;
use plw_record::{
    EvaluationRow, Machine, RunLock, TrainingSummary, check_metrics, checkpoint_name,
    peak_memory_bytes,
};

use crate::checkpoint::restore;
use crate::run::{Observer, Outcome, Run};
use crate::trainer_state::{TrainerState, read_state};
use crate::validation::evaluate_on;
use crate::{Plan, TrainError};

/// Evaluates the result on the test questions, if there are any, and writes the summary, once every
/// row of the metrics is there. A stop meanwhile leaves both to the resumed run.
pub(crate) fn finish(
    run: &Run<'_>,
    lock: Option<&RunLock>,
    model: Llama,
    plan: &Plan<'_>,
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
            let (step, result) = result(run, model, best.as_ref(), state.step, device)?;
            let row = evaluate_on(run, lock, &result, examples, "test", step, observer)?;
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
        epochs: plan.epochs(),
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
        device_memory_bytes: reserved_memory(device),
        parameters,
        trainable_parameters,
        examples: run.train.len() as u64,
        dropped_examples: run.train.dropped.len() as u64,
        skipped_rows: run.train.skipped_rows,
        packing_density: plan.packing.map(|packing| packing.density),
        packing_compression: plan.packing.map(|packing| packing.compression),
        machine: Machine::this(),
        processes: run.transport.world_size() as u64,
        initial: state.initial,
        last: state.last,
    };
    let Some(lock) = lock else {
        return Ok(Outcome::Complete(Box::new(summary)));
    };
    lock.check()?;
    let steps = 1..=summary.steps;
    let logged = steps.filter(|&step| run.training.logs_after(step, summary.steps));
    check_metrics(run.directory.metrics(), logged)?;
    run.directory.sync_logs()?;
    run.directory.write_summary(&summary)?;
    Ok(Outcome::Complete(Box::new(summary)))
}

/// The model that the run results in and its step: the best one, if asked for, else the last.
fn result(
    run: &Run<'_>,
    last: Llama,
    best: Option<&EvaluationRow>,
    last_step: u64,
    device: &Device,
) -> Result<(u64, Llama), TrainError> {
    let Some(best) = best.filter(|best| best.step != last_step) else {
        return Ok((last_step, last));
    };
    let path = run.directory.checkpoints().join(checkpoint_name(best.step));
    match read_state(&path).and_then(|_| restore(last, &path, device)) {
        Ok(model) => Ok((best.step, model)),
        Err(problem) => Err(TrainError::BestCheckpoint {
            path,
            problem: Box::new(problem),
        }),
    }
}

/// The number of parameters, and of those that are trained.
fn count_parameters(model: &Llama) -> (u64, u64) {
    let (config, lora) = (model.config(), model.lora());
    let adapter = lora.map_or(0, |lora| config.adapter_parameter_count(&lora));
    let trained = model.parameters().into_iter().filter(|p| p.trainable);
    let counts = trained.map(|p| p.shape.iter().product::<usize>() as u64);
    (config.parameter_count() + adapter, counts.sum())
}
