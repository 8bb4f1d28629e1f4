//! The pages of a GPU's memory.

use burn::tensor::{DType, Device};
use plw_batch::{Layout, Pack};
use plw_kernels::prepare_pages;
use plw_loss::default_chunk;
use plw_model::Llama;

use crate::plan::STEPS_LOOKED_AT;
use crate::run::Run;
use crate::{Plan, PlannedStep};

/// Has the memory of a GPU allocated in pages that hold the largest tensor of the steps to come:
/// pages that grow with the tensors are held twice.
pub(crate) fn prepare(run: &Run<'_>, plan: &Plan<'_>, taken: u64, model: &Llama, device: &Device) {
    let (layout, packs) = (
        run.batching.layout(),
        run.training.per_device_train_batch_size,
    );
    let steps = plan.steps_after(taken).take(STEPS_LOOKED_AT as usize);
    let largest = steps.map(|step| most_positions(&step, packs, layout)).max();
    let bytes = DType::from(model.activations()).size() as u64;
    let logits = default_chunk(device, model.lora().is_none()) as u64;
    let frozen = model.lora().map(|_| model.lm_head().dtype().size() as u64);
    let largest = model
        .config()
        .largest_tensor(largest.unwrap_or(0), bytes, logits, frozen);
    prepare_pages(device, largest);
}

/// Positions of a step's largest micro-batch, or more where its sequences share prefixes.
fn most_positions(step: &PlannedStep, packs_per_batch: usize, layout: Layout) -> u64 {
    let positions = |packs: &[Pack]| {
        let lengths = packs.iter().map(|pack| pack.length as u64);
        match layout {
            Layout::Concatenated | Layout::SharedPrefixes => lengths.sum(),
            Layout::CrossDocument => packs.len() as u64 * lengths.max().unwrap_or(0),
        }
    };
    let batches = step.packs.chunks(packs_per_batch);
    batches.map(positions).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_micro_batch_of_a_step_is_found() {
        let lengths = [3, 4, 9, 1, 6];
        let packs = lengths.map(|length| Pack {
            length,
            ..Pack::default()
        });
        let step = PlannedStep {
            number: 1,
            packs: packs.into(),
            epoch: 0.5,
        };
        for (packs, layout, most) in [
            (2, Layout::Concatenated, 10),
            (2, Layout::SharedPrefixes, 10),
            (2, Layout::CrossDocument, 18),
            (5, Layout::Concatenated, 23),
            (1, Layout::CrossDocument, 9),
        ] {
            assert_eq!(most_positions(&step, packs, layout), most, "{layout:?}");
        }
    }
}
