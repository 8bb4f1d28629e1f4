//! How long each operation of a Llama takes on a device, forward and backward, with the operations
//! a second of its products.
//!
//! `device_speed [cpu|cuda|wgpu] [smollm2-135m|llama-2-7b] [f32|bf16] [ROWS]`: rows of 2048 tokens
//! that hold documents of 409 or 410. One JSON line an operation.

use std::time::Instant;

use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use plw_kernels::{
    AdamW, AdamWStep, AttentionHeads, AttentionMask, FiniteFlags, GradientFactor, LinearInput,
    LinearOperands, LinearWeight, RotaryEmbedding, TargetTable, Updated, adamw, attention, linear,
    linear_cross_entropy, rms_norm, swiglu,
};

const SEQ: usize = 2048;
const DOCUMENTS: usize = 5;
/// Rows of logits that are held at once.
const CHUNK: usize = 4096;
const REPETITIONS: usize = 5;

#[derive(Debug, Clone, Copy)]
struct Shape {
    hidden: usize,
    intermediate: usize,
    heads: AttentionHeads,
    vocab: usize,
    rows: usize,
}

impl Shape {
    fn named(name: &str) -> Self {
        let heads = |query, key_value, head_dim| AttentionHeads {
            query,
            key_value,
            head_dim,
        };
        match name {
            "smollm2-135m" => Self {
                hidden: 576,
                intermediate: 1536,
                heads: heads(9, 3, 64),
                vocab: 49_152,
                rows: 16,
            },
            "llama-2-7b" => Self {
                hidden: 4096,
                intermediate: 11_008,
                heads: heads(32, 32, 128),
                vocab: 32_000,
                rows: 8,
            },
            other => panic!("no shape is called {other}"),
        }
    }

    fn tokens(&self) -> usize {
        self.rows * SEQ
    }
}

fn device(name: &str) -> Device {
    match name {
        "cpu" => Device::flex(),
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(0),
        #[cfg(feature = "wgpu")]
        "wgpu" => plw_kernels::preferred_wgpu_device(),
        other => panic!("the device `{other}` is not built in"),
    }
}

/// The measurements of one device, shape and type.
struct Bench {
    device: Device,
    dtype: FloatDType,
}

impl Bench {
    fn random<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        let uniform = Distribution::Uniform(-1.0, 1.0);
        Tensor::random(shape, uniform, &self.device)
    }

    /// An activation, with a gradient.
    fn leaf(&self, shape: [usize; 2]) -> Tensor<2> {
        self.random(shape).cast(self.dtype).require_grad()
    }

    /// Prints the median time until the first element of what `run` returns is known, and what
    /// `products` multiplications and additions in it come to.
    fn report<const D: usize>(
        &self,
        name: &str,
        pass: &str,
        products: f64,
        mut run: impl FnMut() -> Tensor<D>,
    ) {
        let mut timed = || {
            let start = Instant::now();
            let found = run().inner();
            let count = found.shape().num_elements();
            let first: Vec<f32> = found
                .reshape([count])
                .slice(0..1)
                .into_data_as::<f32>()
                .try_into_vec()
                .expect("the data was converted to f32 just now");
            (start.elapsed().as_secs_f64(), first[0])
        };
        let (_, element) = timed();
        let mut seconds: Vec<f64> = (0..REPETITIONS).map(|_| timed().0).collect();
        seconds.sort_by(f64::total_cmp);
        let median = seconds[REPETITIONS / 2];
        println!(
            "{{\"operation\": \"{name}\", \"pass\": \"{pass}\", \"ms\": {:.3}, \"tflops\": {:.1}, \
             \"element\": {element:e}}}",
            median * 1e3,
            2.0 * products / median / 1e12
        );
    }

    /// Both passes of an operation, whose forward pass takes so many products. `leaf` is the one
    /// whose gradient is computed last.
    fn passes(&self, name: &str, products: f64, leaf: &Tensor<2>, forward: impl Fn() -> Tensor<2>) {
        self.report(name, "forward", products, &forward);
        let grad_output = forward().inner().autodiff();
        self.report(name, "both, and a sum", 3.0 * products, || {
            let gradients = (forward() * grad_output.clone()).sum().backward();
            leaf.grad(&gradients).expect("the leaf is tracked")
        });
    }

    fn linear(&self, name: &str, input: LinearInput, inputs: usize, outputs: &[usize]) {
        let x = match &input {
            LinearInput::Plain(x) | LinearInput::Gated(x) => x.clone(),
            LinearInput::Normalized { x, .. } => x.clone(),
        };
        let weights = outputs.iter().map(|&width| LinearWeight {
            weight: self.random([width, inputs]).require_grad().into(),
            adapter: None,
        });
        let operands = LinearOperands {
            input,
            weights: weights.collect(),
            residual: None,
        };
        let width: usize = outputs.iter().sum();
        let products = (x.dims()[0] * inputs * width) as f64;
        self.passes(name, products, &x, || linear(operands.clone()));
    }

    fn layer(&self, shape: &Shape) {
        let (tokens, hidden) = (shape.tokens(), shape.hidden);
        let norm = || self.random([hidden]).require_grad();
        let normalized = || LinearInput::Normalized {
            x: self.leaf([tokens, hidden]),
            weight: norm(),
            epsilon: 1e-5,
        };
        let AttentionHeads {
            query,
            key_value,
            head_dim,
        } = shape.heads;
        let [query, key] = [query * head_dim, key_value * head_dim];
        self.linear("norm and qkv", normalized(), hidden, &[query, key, key]);
        let attended = LinearInput::Plain(self.leaf([tokens, query]));
        self.linear("attention output", attended, query, &[hidden]);
        let wide = shape.intermediate;
        self.linear("norm, gate and up", normalized(), hidden, &[wide, wide]);
        let gated = LinearInput::Gated(self.leaf([tokens, 2 * wide]));
        self.linear("SwiGLU and down", gated, wide, &[hidden]);
        let (x, weight) = (self.leaf([tokens, hidden]), norm());
        self.passes("RMSNorm", 0.0, &x, || {
            rms_norm(x.clone(), weight.clone(), 1e-5)
        });
        let gate_up = self.leaf([tokens, 2 * wide]);
        self.passes("SwiGLU", 0.0, &gate_up, || swiglu(gate_up.clone()));
        self.attention(shape);
    }

    fn attention(&self, shape: &Shape) {
        let AttentionHeads {
            query,
            key_value,
            head_dim,
        } = shape.heads;
        let document = |position: usize| position * DOCUMENTS / SEQ;
        let first = |document: usize| (document * SEQ).div_ceil(DOCUMENTS);
        let rows = (0..shape.rows).flat_map(|_| 0..SEQ);
        let positions: Vec<u32> = rows
            .clone()
            .map(|position| (position - first(document(position))) as u32)
            .collect();
        let visible: Vec<u32> = rows
            .map(|position| first(document(position) + 1) as u32)
            .collect();
        let sizes = [shape.rows, SEQ];
        let half = head_dim / 2;
        let frequencies: Vec<f32> = (0..half)
            .map(|i| 10_000f32.powf(-(i as f32) / half as f32))
            .collect();
        let rotary = RotaryEmbedding::new(sizes, &positions, &frequencies, &self.device);
        let mask = AttentionMask::new(sizes, &visible, &self.device);
        let qkv = self.leaf([shape.tokens(), (query + 2 * key_value) * head_dim]);
        // Half of the square of each document, twice.
        let length = (SEQ / DOCUMENTS) as f64;
        let products = shape.tokens() as f64 * length * (query * head_dim) as f64;
        self.passes("attention", products, &qkv, || {
            attention(qkv.clone(), shape.heads, &rotary, &mask)
        });
    }

    fn loss(&self, shape: &Shape) {
        let tokens = shape.tokens();
        let hidden = self.leaf([tokens, shape.hidden]);
        let lm_head = self.random([shape.vocab, shape.hidden]).require_grad();
        let row: Vec<u32> = (0..tokens as u32).collect();
        let token: Vec<u32> = row.iter().map(|row| row * 7 % shape.vocab as u32).collect();
        let weight = vec![1.0 / tokens as f32; tokens];
        let table = TargetTable {
            row: &row,
            token: &token,
            weight: &weight,
        };
        let products = 3.0 * (tokens * shape.hidden * shape.vocab) as f64;
        self.report("cross-entropy", "both", products, || {
            let found = linear_cross_entropy(hidden.clone(), lm_head.clone(), table, CHUNK);
            let gradients = found.loss.backward();
            hidden.grad(&gradients).expect("the leaf is tracked")
        });
    }

    /// What a launch costs that computes next to nothing, in a thousand of them.
    fn launches(&self) {
        let device = self.device.clone().inner();
        let tiny = |width: usize| {
            let zeros = Tensor::<2>::zeros([16, width], &device);
            zeros.cast(self.dtype)
        };
        let (gate_up, x) = (tiny(32), tiny(16));
        self.report("1000 tiny SwiGLU", "forward", 0.0, || {
            (0..1000).fold(swiglu(gate_up.clone()), |_, _| swiglu(gate_up.clone()))
        });
        let product = || {
            let weight = LinearWeight {
                weight: x.clone().into(),
                adapter: None,
            };
            linear(LinearOperands {
                input: LinearInput::Plain(x.clone()),
                weights: vec![weight],
                residual: None,
            })
        };
        self.report("1000 tiny products", "forward", 0.0, || {
            (0..1000).fold(product(), |_, _| product())
        });
        self.report("1000 tiny sums", "forward", 0.0, || {
            (0..1000).fold(x.clone(), |sum, _| sum + x.clone())
        });
    }

    fn optimizer(&self, shape: &Shape) {
        let device = self.device.clone().inner();
        let uniform = Distribution::Uniform(-1.0, 1.0);
        let sizes = [shape.vocab * shape.hidden];
        let [parameter, gradient] = [0, 1].map(|_| Tensor::<1>::random(sizes, uniform, &device));
        let step = AdamWStep {
            settings: AdamW::default(),
            number: 2,
            learning_rate: 1e-4,
            gradient_factor: GradientFactor::Known(1.0),
        };
        let mut state = Some((parameter, None));
        self.report("AdamW of the embeddings", "update", 0.0, || {
            let (parameter, moments) = state.take().expect("put back below");
            let mut flags = FiniteFlags::with_capacity(1);
            let updated: Updated<1> =
                adamw(parameter, gradient.clone(), moments, &step, &mut flags);
            state = Some((updated.parameter.clone(), Some(updated.moments)));
            updated.parameter
        });
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |n: usize, default: &'static str| -> String {
        arguments.get(n).cloned().unwrap_or(default.to_string())
    };
    let mut shape = Shape::named(&argument(1, "smollm2-135m"));
    if let Some(rows) = arguments.get(3) {
        shape.rows = rows.parse().expect("ROWS is a number");
    }
    let bench = Bench {
        device: device(&argument(0, "cpu")).autodiff(),
        dtype: match argument(2, "f32").as_str() {
            "f32" => FloatDType::F32,
            "bf16" => FloatDType::BF16,
            other => panic!("no type is called {other}"),
        },
    };
    bench.launches();
    bench.layer(&shape);
    bench.loss(&shape);
    bench.optimizer(&shape);
}
