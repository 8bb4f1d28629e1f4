//! Replays the allocations of full fine-tuning in bf16 through CubeCL's memory management, as plw
//! makes them on CUDA, and prints the peak. No GPU is needed: only sizes are computed.
//!
//! `cargo run --release -- TOKENS...` takes the tokens of each step's micro-batch, or none for the
//! steps of `small` and `small-shared` in `results/gpu.md`.

mod card;

use card::{Card, Tensor};

/// SmolLM2-135M.
const HIDDEN: u64 = 576;
const QUERY_KEY_VALUE: u64 = 960;
const INTERMEDIATE: u64 = 1536;
const HEADS: u64 = 9;
const LAYERS: u64 = 30;
const VOCAB: u64 = 49152;

/// Rows of logits at once.
const CHUNK: u64 = 2048;

const F32: u64 = 4;
const BF16: u64 = 2;

/// Tokens computed in the steps of the measured runs.
const SMALL: [u64; 16] = [
    29568, 30888, 28189, 33586, 34048, 35252, 30594, 29529, 31804, 34094, 29962, 32457, 34723,
    32031, 34826, 36284,
];
const SHARED: [u64; 16] = [
    10667, 11957, 10326, 11716, 12690, 13347, 11391, 10758, 11972, 12091, 10951, 11835, 12688,
    12323, 13255, 14105,
];

fn main() {
    let given: Result<Vec<u64>, _> = std::env::args().skip(1).map(|word| word.parse()).collect();
    match given {
        Err(error) => eprintln!("give the tokens of each step: {error}"),
        Ok(steps) if steps.is_empty() => {
            for (name, steps) in [("small", SMALL), ("small-shared", SHARED)] {
                println!("{name}: {}", peaks(&steps));
            }
        }
        Ok(steps) => println!("{}", peaks(&steps)),
    }
}

fn peaks(steps: &[u64]) -> String {
    let [before, now] = [false, true].map(|prepared| replay(steps, prepared) as f64 / 1e9);
    format!("{before:.1} GB with pages that grow, {now:.1} GB with pages of one size")
}

/// The peak of these steps. `prepared`: the largest tensor is allocated once before the first, and
/// unused pages are given back after each.
fn replay(steps: &[u64], prepared: bool) -> u64 {
    let mut card = Card::new();
    let sizes = parameters();
    let weights: Vec<Tensor> = sizes.iter().map(|&size| card.tensor(F32 * size)).collect();
    if prepared {
        let most = steps.iter().max().copied().unwrap_or(0);
        drop(card.tensor((BF16 * 2 * INTERMEDIATE * most).max(F32 * CHUNK * VOCAB)));
        card.flush();
    }
    let mut moments = Vec::new();
    for &tokens in steps {
        let gradients = step(&mut card, tokens);
        if moments.is_empty() {
            let both = sizes.iter().flat_map(|&size| [size, size]);
            moments = both.map(|size| card.tensor(F32 * size)).collect();
        }
        drop(gradients);
        if prepared {
            card.flush();
        }
    }
    drop(weights);
    card.peak()
}

/// The elements of each parameter.
fn parameters() -> Vec<u64> {
    let key = (QUERY_KEY_VALUE - HIDDEN) / 2;
    let layer = [
        HIDDEN * HIDDEN,
        key * HIDDEN,
        key * HIDDEN,
        HIDDEN * HIDDEN,
        INTERMEDIATE * HIDDEN,
        INTERMEDIATE * HIDDEN,
        HIDDEN * INTERMEDIATE,
        HIDDEN,
        HIDDEN,
    ];
    let layers = (0..LAYERS).flat_map(|_| layer);
    layers.chain([VOCAB * HIDDEN, HIDDEN]).collect()
}

/// A forward and a backward pass. Returns the gradients.
fn step(card: &mut Card, tokens: u64) -> Vec<Tensor> {
    let activation = |card: &mut Card, width: u64| card.tensor(BF16 * width * tokens);
    let embedded = card.tensor(F32 * HIDDEN * tokens);
    let mut x = activation(card, HIDDEN);
    drop(embedded);
    let mut kept = Vec::new();
    for _ in 0..LAYERS {
        let query_key_value = product(card, tokens, HIDDEN, QUERY_KEY_VALUE);
        let attended = activation(card, HIDDEN);
        let log_sum_exp = card.tensor(F32 * HEADS * tokens);
        let weight = card.tensor(BF16 * HIDDEN * HIDDEN);
        let after_attention = activation(card, HIDDEN);
        drop(weight);
        let gate_up = product(card, tokens, HIDDEN, 2 * INTERMEDIATE);
        let gated = activation(card, INTERMEDIATE);
        let weight = card.tensor(BF16 * HIDDEN * INTERMEDIATE);
        let output = activation(card, HIDDEN);
        drop((gated, weight));
        let before = std::mem::replace(&mut x, output);
        kept.push([
            before,
            query_key_value,
            attended,
            log_sum_exp,
            after_attention,
            gate_up,
        ]);
    }
    let normalized = activation(card, HIDDEN);
    let lm_head = card.tensor(BF16 * VOCAB * HIDDEN);
    let mut gradients = vec![card.tensor(F32 * VOCAB * HIDDEN)];
    let grad_hidden = activation(card, HIDDEN);
    for first in (0..tokens).step_by(CHUNK as usize) {
        let rows = CHUNK.min(tokens - first);
        let logits = card.tensor(F32 * rows * VOCAB);
        drop((card.tensor(BF16 * rows * VOCAB), logits));
    }
    drop(lm_head);
    let mut grad_x = activation(card, HIDDEN);
    drop((grad_hidden, normalized, x));
    while let Some(of_layer) = kept.pop() {
        let gated = activation(card, INTERMEDIATE);
        let grad_gated = activation(card, INTERMEDIATE);
        gradients.push(card.tensor(F32 * HIDDEN * INTERMEDIATE));
        let grad_gate_up = activation(card, 2 * INTERMEDIATE);
        drop((gated, grad_gated));
        grad_x = product_backward(card, tokens, 2 * INTERMEDIATE, &mut gradients, grad_x);
        drop(grad_gate_up);
        let grad_attended = activation(card, HIDDEN);
        gradients.push(card.tensor(F32 * HIDDEN * HIDDEN));
        let grad_queries = card.tensor(F32 * HIDDEN * tokens);
        let grad_query_key_value = activation(card, QUERY_KEY_VALUE);
        drop((grad_queries, grad_attended));
        grad_x = product_backward(card, tokens, QUERY_KEY_VALUE, &mut gradients, grad_x);
        drop((grad_query_key_value, of_layer));
    }
    // Both contributions to the table's gradient, and their sum.
    let table = [
        card.tensor(F32 * VOCAB * HIDDEN),
        card.tensor(F32 * VOCAB * HIDDEN),
    ];
    drop((table, grad_x));
    gradients
}

/// The output of a linear layer whose input is normalized first, with weights cast to bf16.
fn product(card: &mut Card, tokens: u64, inputs: u64, outputs: u64) -> Tensor {
    let normalized = card.tensor(BF16 * inputs * tokens);
    let weight = card.tensor(BF16 * outputs * inputs);
    let output = card.tensor(BF16 * outputs * tokens);
    drop((normalized, weight));
    output
}

/// The gradient of such a layer's input, added to that of the residual.
fn product_backward(
    card: &mut Card,
    tokens: u64,
    outputs: u64,
    gradients: &mut Vec<Tensor>,
    grad_residual: Tensor,
) -> Tensor {
    let normalized = card.tensor(BF16 * HIDDEN * tokens);
    let grad_normalized = card.tensor(BF16 * HIDDEN * tokens);
    let weight = card.tensor(BF16 * outputs * HIDDEN);
    gradients.push(card.tensor(F32 * outputs * HIDDEN));
    drop(weight);
    let grad_input = card.tensor(BF16 * HIDDEN * tokens);
    gradients.push(card.tensor(F32 * HIDDEN));
    drop((normalized, grad_normalized));
    let sum = card.tensor(BF16 * HIDDEN * tokens);
    drop((grad_input, grad_residual));
    sum
}
