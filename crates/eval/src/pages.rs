//! The pages of a GPU's memory.

use burn::tensor::DType;
use plw_batch::{Layout, Sequences};
use plw_kernels::{has_queue, prepare_pages};
use plw_loss::default_chunk;
use plw_model::Llama;

use crate::EvaluationOptions;
use crate::passes::lay_out;

/// Has the memory of a GPU allocated in pages that hold the largest tensor of the batches of a
/// share: pages that grow with the tensors are held twice.
pub(crate) fn prepare(
    model: &Llama,
    options: &EvaluationOptions,
    sequences: &Sequences,
    share: &[(u32, Vec<u32>)],
    layout: Layout,
) {
    let table = model.lm_head();
    let device = table.device();
    if !has_queue(&device) {
        return;
    }
    let tokens = |numbers: &[u32]| numbers.iter().map(|&n| sequences.length(n)).sum::<usize>();
    let batches = share.iter().map(|(_, numbers)| numbers);
    let longest = batches.max_by_key(|numbers| tokens(numbers));
    let positions = longest.map_or(0, |numbers| {
        lay_out(sequences, numbers, layout).positions() as u64
    });
    // Another batch may have fewer tokens and share less of them.
    let positions = positions + positions / 8;
    let activation_bytes = DType::from(model.activations()).size() as u64;
    let logits = match options.prompt_loss {
        true => default_chunk(&device, false) as u64,
        false => 0,
    };
    let table_bytes = table.dtype().size() as u64;
    let config = model.config();
    let largest = config.largest_tensor(positions, activation_bytes, logits, Some(table_bytes));
    prepare_pages(&device, largest);
}
