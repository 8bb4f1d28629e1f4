//! One block of a Llama and its loss, forward and backward, with the kernels and with their
//! references in Burn operations. Prints both losses and the largest differences of gradients.

use burn::tensor::{Device, Distribution, Tensor};
use plw_kernels::{
    AttentionHeads, AttentionMask, DEFAULT_CHUNK, LinearCrossEntropy, LinearInput, LinearOperands,
    LinearWeight, RotaryEmbedding, TargetTable, attention, attention_reference, linear,
    linear_cross_entropy, linear_cross_entropy_reference, linear_reference, rms_norm,
    rms_norm_reference,
};

const VOCAB: usize = 50;
const HIDDEN: usize = 32;
const INTERMEDIATE: usize = 48;
const HEADS: AttentionHeads = AttentionHeads {
    query: 4,
    key_value: 2,
    head_dim: 8,
};
const EPSILON: f64 = 1e-5;
/// One row that holds two documents of six and four tokens, which do not see each other.
const SHAPE: [usize; 2] = [1, 10];
const POSITIONS: [u32; 10] = [0, 1, 2, 3, 4, 5, 0, 1, 2, 3];
const VISIBLE_UNTIL: [u32; 10] = [6, 6, 6, 6, 6, 6, 10, 10, 10, 10];
/// The last token of each document is predicted from the one before it.
const TARGETS: TargetTable<'static> = TargetTable {
    row: &[4, 8],
    token: &[17, 23],
    weight: &[0.5, 0.5],
};

/// The weights of the block. Queries, keys and values are one product, gate and up another.
struct Block {
    norm: Tensor<1>,
    qkv: [Tensor<2>; 3],
    output: Tensor<2>,
    gate_up: [Tensor<2>; 2],
    down: Tensor<2>,
    lm_head: Tensor<2>,
}

/// The functions that the block is made of.
struct Operations {
    linear: fn(LinearOperands) -> Tensor<2>,
    attention: fn(Tensor<2>, AttentionHeads, &RotaryEmbedding, &AttentionMask) -> Tensor<2>,
    rms_norm: fn(Tensor<2>, Tensor<1>, f64) -> Tensor<2>,
    loss: fn(Tensor<2>, Tensor<2>, TargetTable<'_>) -> LinearCrossEntropy,
}

const KERNELS: Operations = Operations {
    linear,
    attention,
    rms_norm,
    loss: |hidden, lm_head, targets| linear_cross_entropy(hidden, lm_head, targets, DEFAULT_CHUNK),
};

const REFERENCES: Operations = Operations {
    linear: linear_reference,
    attention: attention_reference,
    rms_norm: rms_norm_reference,
    loss: linear_cross_entropy_reference,
};

fn main() {
    let device = Device::flex().autodiff();
    device.seed(1);
    let x = random([10, HIDDEN], &device);
    let block = Block::random(&device);
    let [kernels, references] = [KERNELS, REFERENCES].map(|operations| {
        let loss = block.loss(x.clone(), &operations, &device);
        let gradients = loss.clone().backward();
        let gradient = |leaf: &Tensor<2>| leaf.grad(&gradients).expect("the leaf has a gradient");
        let leaves = [&x, &block.qkv[0], &block.down, &block.lm_head].map(gradient);
        (loss.into_scalar::<f32>(), leaves)
    });
    println!(
        "loss: kernels {:.6}, references {:.6}",
        kernels.0, references.0
    );
    let names = ["x", "query weight", "down weight", "lm_head"];
    for ((name, found), expected) in names.iter().zip(kernels.1).zip(references.1) {
        let difference = (found - expected).abs().max().into_scalar::<f32>();
        println!("gradient of {name}: largest difference {difference:.1e}");
        assert!(difference < 1e-4, "kernel and reference disagree");
    }
}

fn random(shape: [usize; 2], device: &Device) -> Tensor<2> {
    let deviation = 1.0 / (shape[1] as f64).sqrt();
    Tensor::random(shape, Distribution::Normal(0.0, deviation), device).require_grad()
}

impl Block {
    fn random(device: &Device) -> Self {
        let key_width = HEADS.key_value * HEADS.head_dim;
        Self {
            norm: Tensor::ones([HIDDEN], device),
            qkv: [HIDDEN, key_width, key_width].map(|width| random([width, HIDDEN], device)),
            output: random([HIDDEN, HIDDEN], device),
            gate_up: [INTERMEDIATE; 2].map(|width| random([width, HIDDEN], device)),
            down: random([HIDDEN, INTERMEDIATE], device),
            lm_head: random([VOCAB, HIDDEN], device),
        }
    }

    fn loss(&self, x: Tensor<2>, operations: &Operations, device: &Device) -> Tensor<1> {
        let frequencies: Vec<f32> = (0..4).map(|i| 10_000f32.powf(-i as f32 / 4.0)).collect();
        let rotary = RotaryEmbedding::new(SHAPE, &POSITIONS, &frequencies, device);
        let mask = AttentionMask::new(SHAPE, &VISIBLE_UNTIL, device);
        let linear = |input, weights: &[Tensor<2>], residual| {
            let weights = weights.iter().cloned();
            (operations.linear)(LinearOperands {
                input,
                weights: weights
                    .map(|weight| LinearWeight {
                        weight: weight.into(),
                        adapter: None,
                    })
                    .collect(),
                residual,
            })
        };
        let normalized = |x| LinearInput::Normalized {
            x,
            weight: self.norm.clone(),
            epsilon: EPSILON,
        };
        let qkv = linear(normalized(x.clone()), &self.qkv, None);
        let attended = (operations.attention)(qkv, HEADS, &rotary, &mask);
        let output = std::slice::from_ref(&self.output);
        let x = linear(LinearInput::Plain(attended), output, Some(x));
        let gate_up = linear(normalized(x.clone()), &self.gate_up, None);
        let down = std::slice::from_ref(&self.down);
        let x = linear(LinearInput::Gated(gate_up), down, Some(x));
        let hidden = (operations.rms_norm)(x, self.norm.clone(), EPSILON);
        (operations.loss)(hidden, self.lm_head.clone(), TARGETS).loss
    }
}
