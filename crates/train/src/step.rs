//! One optimizer step: micro-batches, loss, gradients, clipping, AdamW.

use burn::tensor::Tensor;
use plw_batch::{Batch, Pack, Sequences, micro_batches};
use plw_kernels::{GradientNorm, Readback};
use plw_loss::{
    LossTotals, MeanLosses, Normalizer, Objective, WeightedTargets, default_chunk,
    linear_cross_entropy,
};
use plw_model::{DropoutKey, Llama, NamedTensors, accumulate};
use plw_transport::{Alone, Transport};

use crate::gradient_sum::{Sending, summed};
use crate::optimizer::FiniteCheck;
use crate::step_sums::{StepCounts, StepSums};
use crate::{BatchingArguments, Optimizer, TrainError, TrainingArguments};

/// Lays the packs of a step out as micro-batches, with the normalizer of all of them.
///
/// # Errors
///
/// If no token of the step has a weight.
pub(crate) fn lay_out(
    sequences: &Sequences,
    packs: &[Pack],
    batching: &BatchingArguments,
    training: &TrainingArguments,
    objective: Objective,
) -> Result<(Vec<Batch>, Normalizer), TrainError> {
    let batches = micro_batches(
        sequences,
        packs,
        training.per_device_train_batch_size,
        batching.layout(),
    );
    let in_step = batches.iter().flat_map(|batch| &batch.sequences);
    let normalizer = Normalizer::of_step(in_step, objective)?;
    Ok((batches, normalizer))
}

/// How the forward and backward passes of a step are computed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PassOptions {
    /// Whether the backward pass recomputes each layer from its input: less memory, same bits.
    pub gradient_checkpointing: bool,
    /// Key of the dropout masks. None: no dropout.
    pub dropout: Option<DropoutKey>,
}

/// How an optimizer step is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepOptions {
    /// The step's learning rate.
    pub learning_rate: f64,
    /// Largest global norm of the gradients. 0 turns clipping off.
    pub max_grad_norm: f64,
    /// How the passes are computed.
    pub pass: PassOptions,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepResult {
    /// The objective.
    pub loss: f64,
    /// Unweighted means by kind. None where no such target was computed.
    pub losses: MeanLosses,
    /// Global norm of the gradients, before clipping.
    pub grad_norm: f64,
    /// What the batches of all processes hold.
    pub counts: StepCounts,
    /// Whether a process was asked to stop.
    pub stop: bool,
}

/// What micro-batches contribute to a step's objective.
#[derive(Debug, Clone)]
pub struct LossAndGradients {
    /// Their part of the objective; all of it, where they are all of the step's.
    pub loss: f64,
    /// Unweighted means by kind.
    pub losses: MeanLosses,
    /// The gradient of `loss` for each trained parameter, by its name.
    pub gradients: NamedTensors,
}

/// The contribution of micro-batches to the objective of their step, and its gradients.
///
/// `normalizer` is that of the whole step. These may be all of the step's micro-batches or a part:
/// the contributions of the parts add up to the step's loss and gradients.
pub fn loss_and_gradients(
    model: &Llama,
    batches: &[Batch],
    normalizer: &Normalizer,
    options: &PassOptions,
) -> LossAndGradients {
    let mut passes = queue_passes(model, batches, normalizer, options, None, &|| false);
    let values = Readback::new(passes.losses.on_device()).wait();
    let (loss, totals) = passes.losses.finish(batches, &values);
    LossAndGradients {
        loss,
        losses: totals.means(),
        gradients: passes.gradients,
    }
}

/// The losses of a step's targets, which the device has yet to compute.
#[derive(Debug, Default)]
struct QueuedLosses {
    /// The micro-batches that have targets, and these.
    targets: Vec<(usize, WeightedTargets)>,
    /// `[targets]` for each of them.
    losses: Vec<Tensor<1>>,
}

/// The passes of a step's micro-batches, which the device has yet to compute.
#[derive(Debug, Default)]
struct Passes {
    losses: QueuedLosses,
    gradients: NamedTensors,
    /// Whether the step was given up before the last micro-batch.
    is_given_up: bool,
}

/// Queues the passes of micro-batches, until `stops` says between two of them that the step is
/// given up. The gradients that are sent meanwhile are not returned.
fn queue_passes(
    model: &Llama,
    batches: &[Batch],
    normalizer: &Normalizer,
    options: &PassOptions,
    mut sending: Option<&mut Sending>,
    stops: &dyn Fn() -> bool,
) -> Passes {
    let dropout = options.dropout.as_ref();
    let has_targets = |batch: &Batch| !WeightedTargets::new(batch, normalizer).is_empty();
    let last = sending
        .as_ref()
        .and_then(|_| batches.iter().rposition(has_targets));
    let mut passes = Passes::default();
    for (number, batch) in batches.iter().enumerate() {
        if number > 0 && stops() {
            passes.is_given_up = true;
            break;
        }
        let targets = WeightedTargets::new(batch, normalizer);
        if targets.is_empty() {
            continue;
        }
        let checkpointed = options
            .gradient_checkpointing
            .then(|| model.forward_checkpointed(batch, &targets.rows, dropout));
        let hidden = match &checkpointed {
            Some(forward) => forward.hidden(),
            None => model.forward(batch, &targets.rows, dropout),
        };
        let trains_lm_head = model.lm_head().is_require_grad();
        let chunk = default_chunk(&hidden.device(), trains_lm_head);
        let result = linear_cross_entropy(hidden, model.lm_head(), &targets, chunk);
        let mut grad_loss = result.loss.backward();
        let part = match checkpointed {
            Some(forward) => forward.gradients_by_layer(grad_loss, |part| {
                // What the micro-batches before have left is complete with the last one's.
                if let Some(sending) = sending.as_deref_mut().filter(|_| last == Some(number)) {
                    sending.next(&mut passes.gradients, part);
                }
            }),
            None => model.take_gradients(&mut grad_loss),
        };
        accumulate(&mut passes.gradients, part);
        passes.losses.targets.push((number, targets));
        passes.losses.losses.push(result.target_losses);
    }
    passes
}

impl QueuedLosses {
    fn on_device(&mut self) -> Vec<Tensor<1>> {
        std::mem::take(&mut self.losses)
    }

    /// The objective of these micro-batches, and the unweighted losses by kind, with what was read
    /// of [`QueuedLosses::on_device`].
    fn finish(self, batches: &[Batch], losses: &[Vec<f32>]) -> (f64, LossTotals) {
        let mut loss = 0.0;
        let mut totals = LossTotals::default();
        for ((number, targets), target_losses) in self.targets.into_iter().zip(losses) {
            let weighted = targets.weight.iter().zip(target_losses);
            loss += weighted
                .map(|(&weight, &loss)| f64::from(weight) * f64::from(loss))
                .sum::<f64>();
            totals.add(&batches[number], &targets, target_losses);
        }
        (loss, totals)
    }
}

/// A step that was queued on the device, which has yet to tell what it came to.
#[derive(Debug)]
#[must_use = "what is not finite is told here alone"]
pub struct QueuedStep {
    number: u64,
    losses: QueuedLosses,
    norm: GradientNorm,
    check: FiniteCheck,
    /// Of the losses, then of the norm, then of the check.
    values: Readback,
}

impl QueuedStep {
    /// Waits for the device and for the other processes. `batches` are this process's of the step,
    /// and `stop` says whether it was asked to stop.
    ///
    /// # Errors
    ///
    /// If the loss, the gradients or the updated weights are not finite, or another process has
    /// ended. The model is lost then.
    pub fn wait(
        self,
        batches: &[Batch],
        transport: &dyn Transport,
        stop: bool,
    ) -> Result<StepResult, TrainError> {
        let values = self.values.wait();
        let (target_losses, others) = values.split_at(self.losses.targets.len());
        let (squares, not_finite) = others.split_at(self.norm.on_device().iter().count());
        let (loss, totals) = self.losses.finish(batches, target_losses);
        let own = StepSums {
            loss,
            totals,
            counts: StepCounts::of(batches),
            stop,
        };
        let StepSums {
            loss,
            totals,
            counts,
            stop,
        } = own.over_processes(transport)?;
        let grad_norm = self.norm.squared_with(&squares.concat()).sqrt();
        for (what, value) in [("loss", loss), ("gradient norm", grad_norm)] {
            if !value.is_finite() {
                return Err(TrainError::NotFinite {
                    what,
                    value,
                    step: self.number,
                    examples: String::new(),
                });
            }
        }
        self.check.finish(&not_finite.concat())?;
        Ok(StepResult {
            loss,
            losses: totals.means(),
            grad_norm,
            counts,
            stop,
        })
    }
}

/// Queues one optimizer step with this process's micro-batches, of which `normalizer` is that of
/// all processes. It does not wait for the device, unless there are other processes, whose
/// gradients are added.
///
/// # Errors
///
/// If another process has ended.
pub fn queue_step(
    model: Llama,
    optimizer: &mut Optimizer,
    batches: &[Batch],
    normalizer: &Normalizer,
    options: &StepOptions,
    transport: &dyn Transport,
) -> Result<(Llama, QueuedStep), TrainError> {
    let pass = &options.pass;
    let passes = summed_passes(&model, batches, normalizer, pass, transport, &|| false)?;
    Ok(queue_update(model, optimizer, passes, options))
}

/// As [`queue_step`], unless `stops` says between two micro-batches that the step is given up: then
/// there is no queued step, and model and optimizer are as they were. Several processes give up
/// none.
pub(crate) fn queue_step_unless(
    stops: &dyn Fn() -> bool,
    model: Llama,
    optimizer: &mut Optimizer,
    (batches, normalizer): (&[Batch], &Normalizer),
    options: &StepOptions,
    transport: &dyn Transport,
) -> Result<(Llama, Option<QueuedStep>), TrainError> {
    let pass = &options.pass;
    let passes = summed_passes(&model, batches, normalizer, pass, transport, stops)?;
    if passes.is_given_up {
        return Ok((model, None));
    }
    let (model, queued) = queue_update(model, optimizer, passes, options);
    Ok((model, Some(queued)))
}

/// Queues the passes of this process, with the gradients of all processes.
fn summed_passes(
    model: &Llama,
    batches: &[Batch],
    normalizer: &Normalizer,
    options: &PassOptions,
    transport: &dyn Transport,
    stops: &dyn Fn() -> bool,
) -> Result<Passes, TrainError> {
    if transport.world_size() == 1 {
        return Ok(queue_passes(
            model, batches, normalizer, options, None, stops,
        ));
    }
    let by_layer = options.gradient_checkpointing;
    let (losses, gradients) = summed(model, by_layer, transport, |sending| {
        let sending = Some(sending);
        let passes = queue_passes(model, batches, normalizer, options, sending, &|| false);
        (passes.losses, passes.gradients)
    })?;
    Ok(Passes {
        losses,
        gradients,
        is_given_up: false,
    })
}

/// Queues the update by the gradients of a step's passes.
fn queue_update(
    model: Llama,
    optimizer: &mut Optimizer,
    passes: Passes,
    options: &StepOptions,
) -> (Llama, QueuedStep) {
    let Passes {
        mut losses,
        gradients,
        ..
    } = passes;
    let norm = GradientNorm::new(gradients.values());
    let factor = norm.limit(options.max_grad_norm);
    let (model, check) = optimizer.step(model, gradients, factor, options.learning_rate);
    let mut values = losses.on_device();
    values.extend(norm.on_device());
    values.extend(check.on_device());
    let queued = QueuedStep {
        number: optimizer.steps,
        losses,
        norm,
        check,
        values: Readback::new(values),
    };
    (model, queued)
}

/// Takes one optimizer step with all of its micro-batches, whose normalizer is `normalizer`.
///
/// # Errors
///
/// If the loss, the gradients or the updated weights are not finite. The model is lost then.
pub fn step(
    model: Llama,
    optimizer: &mut Optimizer,
    batches: &[Batch],
    normalizer: &Normalizer,
    options: &StepOptions,
) -> Result<(Llama, StepResult), TrainError> {
    let alone = Alone::default();
    let (model, queued) = queue_step(model, optimizer, batches, normalizer, options, &alone)?;
    Ok((model, queued.wait(batches, &alone, false)?))
}
