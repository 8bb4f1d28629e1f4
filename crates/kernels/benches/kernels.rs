//! Each kernel and its reference in Burn operations, on flex, at the sizes of SmolLM2-135M with
//! four sequences of 420 tokens.
//!
//! `cargo xtask bench` reads the estimates: criterion's group is the kernel, its function the pass,
//! its parameter the form. Both forms use the system's allocator here. The plw binary has another
//! one, with which neither clears fresh pages.

use std::hint::black_box;
use std::time::Duration;

use burn::tensor::{Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion};
use plw_kernels::{
    AdamW, AdamWStep, AttentionHeads, AttentionMask, DEFAULT_CHUNK, FiniteFlags, GradientFactor,
    LinearInput, LinearOperands, LinearWeight, LowRankAdapter, Moments, RotaryEmbedding,
    TargetTable, Updated, adamw, adamw_reference, apply_rotary, apply_rotary_reference, attention,
    attention_reference, embedding, embedding_reference, linear, linear_cross_entropy,
    linear_cross_entropy_reference, linear_reference, rms_norm, rms_norm_reference, squared_norm,
    squared_norm_reference, swiglu, swiglu_reference,
};

const BATCH: usize = 4;
const SEQ: usize = 420;
const TOKENS: usize = BATCH * SEQ;
const HIDDEN: usize = 576;
const INTERMEDIATE: usize = 1536;
const VOCAB: usize = 49_152;
const HEADS: AttentionHeads = AttentionHeads {
    query: 9,
    key_value: 3,
    head_dim: 64,
};
const EPSILON: f64 = 1e-5;
/// The token whose embedding gets no gradient.
const PADDING: u32 = 2;
/// Of an adapter.
const RANK: usize = 16;
/// Targets of a sequence whose prompt has no weight: a letter, the end of the turn, a newline.
const COMPLETION: usize = 3;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let criterion = &mut criterion;
    embeddings(criterion);
    norms(criterion);
    rotations(criterion);
    gates(criterion);
    attentions(criterion);
    linears(criterion);
    cross_entropies(criterion);
    optimizers(criterion);
    criterion.final_summary();
}

/// A kernel or its reference.
type Form<I, const D: usize> = fn(&I) -> Tensor<D>;

/// Benches both forms of a kernel: forward without a graph, then forward and backward with one, for
/// an output gradient of ones. `make` makes their input on a device.
fn compare<I, const D: usize>(
    criterion: &mut Criterion,
    kernel: &str,
    make: impl Fn(&Device) -> I,
    fused: Form<I, D>,
    plain: Form<I, D>,
) {
    let mut group = criterion.benchmark_group(kernel);
    let forms = [("fused", fused), ("plain", plain)];
    let inputs = make(&Device::flex());
    for (name, form) in forms {
        group.bench_function(BenchmarkId::new("forward", name), |bencher| {
            bencher.iter(|| form(black_box(&inputs)));
        });
    }
    drop(inputs);
    let inputs = make(&Device::flex().autodiff());
    for (name, form) in forms {
        group.bench_function(BenchmarkId::new("forward_backward", name), |bencher| {
            bencher.iter(|| form(black_box(&inputs)).backward());
        });
    }
    group.finish();
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// A tensor that gets a gradient on an autodiff device.
fn leaf<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let tensor = random(shape, device);
    match device.is_autodiff() {
        true => tensor.require_grad(),
        false => tensor,
    }
}

fn embeddings(criterion: &mut Criterion) {
    compare(
        criterion,
        "embedding",
        |device| {
            let token_ids: Vec<u32> = (0..TOKENS as u32)
                .map(|i| i * 7919 % VOCAB as u32)
                .collect();
            (leaf([VOCAB, HIDDEN], device), token_ids)
        },
        |(table, token_ids)| embedding(table.clone(), token_ids, Some(PADDING)),
        |(table, token_ids)| embedding_reference(table.clone(), token_ids, Some(PADDING)),
    );
}

fn norms(criterion: &mut Criterion) {
    compare(
        criterion,
        "rms_norm",
        |device| (leaf([TOKENS, HIDDEN], device), leaf([HIDDEN], device)),
        |(x, weight)| rms_norm(x.clone(), weight.clone(), EPSILON),
        |(x, weight)| rms_norm_reference(x.clone(), weight.clone(), EPSILON),
    );
}

/// Embeddings of the positions of all sequences, with the base of SmolLM2.
fn rotary_embedding(device: &Device) -> RotaryEmbedding {
    let positions: Vec<u32> = (0..BATCH).flat_map(|_| 0..SEQ as u32).collect();
    let half = HEADS.head_dim / 2;
    let frequencies: Vec<f32> = (0..half)
        .map(|i| 100_000f32.powf(-(i as f32) / half as f32))
        .collect();
    RotaryEmbedding::new([BATCH, SEQ], &positions, &frequencies, device)
}

fn rotations(criterion: &mut Criterion) {
    compare(
        criterion,
        "rotate",
        |device| {
            let shape = [BATCH, SEQ, HEADS.query, HEADS.head_dim];
            (leaf(shape, device), rotary_embedding(device))
        },
        |(x, rotary)| apply_rotary(x.clone(), rotary),
        |(x, rotary)| apply_rotary_reference(x.clone(), rotary),
    );
}

fn gates(criterion: &mut Criterion) {
    compare(
        criterion,
        "swiglu",
        |device| leaf([TOKENS, 2 * INTERMEDIATE], device),
        |gate_up| swiglu(gate_up.clone()),
        |gate_up| swiglu_reference(gate_up.clone()),
    );
}

fn attentions(criterion: &mut Criterion) {
    compare(
        criterion,
        "attention",
        |device| {
            let width = (HEADS.query + 2 * HEADS.key_value) * HEADS.head_dim;
            // Every token is seen to the end of its sequence.
            let mask = AttentionMask::new([BATCH, SEQ], &[SEQ as u32; TOKENS], device);
            (
                leaf([TOKENS, width], device),
                rotary_embedding(device),
                mask,
            )
        },
        |(qkv, rotary, mask)| attention(qkv.clone(), HEADS, rotary, mask),
        |(qkv, rotary, mask)| attention_reference(qkv.clone(), HEADS, rotary, mask),
    );
}

fn compare_linears(
    criterion: &mut Criterion,
    kernel: &str,
    make: impl Fn(&Device) -> LinearOperands,
) {
    compare(
        criterion,
        kernel,
        make,
        |operands| linear(operands.clone()),
        |operands| linear_reference(operands.clone()),
    );
}

fn trained(outputs: usize, inputs: usize, device: &Device) -> LinearWeight {
    LinearWeight {
        weight: leaf([outputs, inputs], device).into(),
        adapter: None,
    }
}

fn adapted(outputs: usize, inputs: usize, device: &Device) -> LinearWeight {
    LinearWeight {
        weight: random([outputs, inputs], device).into(),
        adapter: Some(LowRankAdapter {
            a: leaf([RANK, inputs], device),
            b: leaf([outputs, RANK], device),
            scaling: 2.0,
            mask: None,
        }),
    }
}

fn linears(criterion: &mut Criterion) {
    let normalized = |weights, device: &Device| LinearOperands {
        input: LinearInput::Normalized {
            x: leaf([TOKENS, HIDDEN], device),
            weight: leaf([HIDDEN], device),
            epsilon: EPSILON,
        },
        weights,
        residual: None,
    };
    compare_linears(criterion, "linear_query_key_value", |device| {
        let outputs = [HEADS.query, HEADS.key_value, HEADS.key_value];
        let weights = outputs.map(|heads| trained(heads * HEADS.head_dim, HIDDEN, device));
        normalized(weights.into(), device)
    });
    compare_linears(criterion, "linear_gate_up", |device| {
        let weights = [0; 2].map(|_| trained(INTERMEDIATE, HIDDEN, device));
        normalized(weights.into(), device)
    });
    compare_linears(criterion, "linear_gate_up_lora", |device| {
        let weights = [0; 2].map(|_| adapted(INTERMEDIATE, HIDDEN, device));
        normalized(weights.into(), device)
    });
    compare_linears(criterion, "linear_down", |device| LinearOperands {
        input: LinearInput::Gated(leaf([TOKENS, 2 * INTERMEDIATE], device)),
        weights: vec![trained(HIDDEN, INTERMEDIATE, device)],
        residual: Some(leaf([TOKENS, HIDDEN], device)),
    });
}

/// Hidden states with one target per row, and the head.
struct LossInput {
    hidden: Tensor<2>,
    lm_head: Tensor<2>,
    row: Vec<u32>,
    token: Vec<u32>,
    weight: Vec<f32>,
}

impl LossInput {
    fn new(targets: usize, device: &Device) -> Self {
        let row: Vec<u32> = (0..targets as u32).collect();
        Self {
            hidden: leaf([targets, HIDDEN], device),
            lm_head: leaf([VOCAB, HIDDEN], device),
            token: row.iter().map(|row| row * 29 % VOCAB as u32).collect(),
            weight: vec![1.0 / targets as f32; targets],
            row,
        }
    }

    fn table(&self) -> TargetTable<'_> {
        TargetTable {
            row: &self.row,
            token: &self.token,
            weight: &self.weight,
        }
    }
}

fn cross_entropies(criterion: &mut Criterion) {
    // The first token of a sequence is no target.
    let counts = [
        ("linear_cross_entropy_few", BATCH * COMPLETION),
        ("linear_cross_entropy_many", BATCH * (SEQ - 1)),
    ];
    for (kernel, targets) in counts {
        compare(
            criterion,
            kernel,
            |device| LossInput::new(targets, device),
            |input| {
                let (hidden, lm_head) = (input.hidden.clone(), input.lm_head.clone());
                linear_cross_entropy(hidden, lm_head, input.table(), DEFAULT_CHUNK).loss
            },
            |input| {
                let (hidden, lm_head) = (input.hidden.clone(), input.lm_head.clone());
                linear_cross_entropy_reference(hidden, lm_head, input.table()).loss
            },
        );
    }
}

/// [`adamw`] or its reference.
type Step =
    fn(Tensor<2>, Tensor<2>, Option<Moments<2>>, &AdamWStep, &mut FiniteFlags) -> Updated<2>;

/// [`squared_norm`] or its reference.
type SquaredNorm = fn(&Tensor<2>) -> f64;

/// AdamW and the norm for clipping, on the largest parameter, the embedding table.
fn optimizers(criterion: &mut Criterion) {
    let device = Device::flex();
    let gradient = random([VOCAB, HIDDEN], &device);
    let forms: [(&str, Step); 2] = [("fused", adamw), ("plain", adamw_reference)];
    let mut group = criterion.benchmark_group("adamw");
    for (name, form) in forms {
        group.bench_function(BenchmarkId::new("step", name), |bencher| {
            let step = AdamWStep {
                settings: AdamW::default(),
                number: 2,
                learning_rate: 2e-4,
                gradient_factor: GradientFactor::Known(0.5),
            };
            let mut state = Some((random([VOCAB, HIDDEN], &device), None));
            bencher.iter(|| {
                // Moved in and out, so that nobody else holds the tensors and the step is in place.
                let (parameter, moments) = state.take().expect("put back each time");
                let mut flags = FiniteFlags::with_capacity(1);
                let updated = form(parameter, gradient.clone(), moments, &step, &mut flags);
                state = Some((updated.parameter, Some(updated.moments)));
            });
        });
    }
    group.finish();
    let forms: [(&str, SquaredNorm); 2] = [
        ("fused", |gradient| squared_norm([gradient])),
        ("plain", squared_norm_reference),
    ];
    let mut group = criterion.benchmark_group("squared_norm");
    for (name, form) in forms {
        group.bench_function(BenchmarkId::new("forward", name), |bencher| {
            bencher.iter(|| form(black_box(&gradient)));
        });
    }
    group.finish();
}
