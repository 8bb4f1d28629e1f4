//! Layers whose weights have adapters of different ranks and scalings, or none, some under dropout,
//! some trained in part.

use burn::tensor::{Device, Tensor, TensorData};
use plw_kernels::{
    LinearInput, LinearOperands, LinearWeight, LowRankAdapter, linear, linear_reference,
};
use proptest::prelude::*;

use crate::{Random, compare, config, dropout, widths, with_gradients};

#[derive(Debug, Clone, Copy)]
struct Adapter {
    rank: usize,
    has_dropout: bool,
    trains_a: bool,
    trains_b: bool,
}

#[derive(Debug, Clone)]
struct Weight {
    outputs: usize,
    is_trained: bool,
    adapter: Option<Adapter>,
}

/// What is multiplied.
#[derive(Debug, Clone, Copy)]
enum Input {
    Plain,
    Normalized,
    Gated,
}

#[derive(Debug, Clone)]
struct Layer {
    tokens: usize,
    inputs: usize,
    input: Input,
    has_residual: bool,
    weights: Vec<Weight>,
}

impl Layer {
    /// The output, and the gradients of what is trained. The input always is.
    fn run(
        &self,
        linear: fn(LinearOperands) -> Tensor<2>,
        seed: u64,
        device: &Device,
    ) -> Vec<TensorData> {
        let mut random = Random::new(seed);
        let mut trained = Vec::new();
        let mut matrix = |shape: [usize; 2], is_trained: bool| {
            let data = random.elements(shape);
            let matrix = Tensor::<2>::from_data(data, device).set_require_grad(is_trained);
            if is_trained {
                trained.push(matrix.clone());
            }
            matrix
        };
        let width = match self.input {
            Input::Plain | Input::Normalized => self.inputs,
            Input::Gated => 2 * self.inputs,
        };
        let x = matrix([self.tokens, width], true);
        let input = match self.input {
            Input::Plain => LinearInput::Plain(x),
            Input::Normalized => LinearInput::Normalized {
                x,
                weight: matrix([1, self.inputs], false).reshape([self.inputs]),
                epsilon: 1e-5,
            },
            Input::Gated => LinearInput::Gated(x),
        };
        let outputs = self.weights.iter().map(|weight| weight.outputs).sum();
        let residual = self
            .has_residual
            .then(|| matrix([self.tokens, outputs], true));
        let weights = self.weights.iter().enumerate().map(|(number, weight)| {
            let shape = [weight.outputs, self.inputs];
            let dense = matrix(shape, weight.is_trained);
            let adapter = weight.adapter.map(|adapter| LowRankAdapter {
                a: matrix([adapter.rank, self.inputs], adapter.trains_a),
                b: matrix([weight.outputs, adapter.rank], adapter.trains_b),
                scaling: 0.5 + number as f64,
                mask: adapter.has_dropout.then(|| dropout(self.tokens, device)),
            });
            LinearWeight {
                weight: dense.into(),
                adapter,
            }
        });
        let weights = weights.collect();
        let output = linear(LinearOperands {
            input,
            weights,
            residual,
        });
        let grad_output = random.elements([self.tokens, outputs]);
        with_gradients(output, &grad_output, &trained.iter().collect::<Vec<_>>())
    }
}

fn adapters() -> impl Strategy<Value = Option<Adapter>> {
    let adapter = (1..20usize, any::<bool>(), any::<bool>(), any::<bool>());
    let adapter = adapter.prop_map(|(rank, has_dropout, trains_a, trains_b)| Adapter {
        rank,
        has_dropout,
        trains_a,
        trains_b,
    });
    proptest::option::weighted(0.8, adapter)
}

fn layers() -> impl Strategy<Value = Layer> {
    let input = prop_oneof![
        Just(Input::Plain),
        Just(Input::Normalized),
        Just(Input::Gated)
    ];
    let weight = (widths(70), any::<bool>(), adapters());
    let weight = weight.prop_map(|(outputs, is_trained, adapter)| Weight {
        outputs,
        is_trained,
        adapter,
    });
    let weights = proptest::collection::vec(weight, 1..4);
    let layer = (1..90usize, widths(70), input, any::<bool>(), weights);
    layer.prop_map(|(tokens, inputs, input, has_residual, weights)| Layer {
        tokens,
        inputs,
        input,
        has_residual,
        weights,
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn layers_of_mixed_adapters_equal_their_reference(seed: u64, layer in layers()) {
        compare(
            |device| layer.run(linear, seed, device),
            |device| layer.run(linear_reference, seed, device),
        );
    }
}
