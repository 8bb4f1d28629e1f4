//! Kernels in f16 against themselves in f32, of elements that f16 can hold. It stands in for bf16,
//! which fewer devices have: kernels are compiled for the one as for the other.

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::{DType, Device, DeviceKind, FloatDType, Shape, Tensor, TensorData, Tolerance};

use super::cast::all_in_type;
use super::tensor::{CubeTensor, from_cube, into_cube};
use crate::attention_mask::AttentionMask;
use crate::flex::attention;
use crate::flex::rope::Direction;
use crate::linear_operands::{
    LinearInput, LinearOperands, LinearWeight, LowRankAdapter, WeightMatrix,
};
use crate::nf4_weight::Nf4Weight;
use crate::operations::attention::{AttentionPasses, Context};
use crate::operations::embedding::EmbeddingPasses;
use crate::operations::linear::LinearPasses;
use crate::operations::rms_norm::RmsNormPasses;
use crate::operations::rope::RotaryPass;
use crate::operations::swiglu::SwigluPasses;
use crate::rotary_embedding::RotaryEmbedding;
use crate::{linear, linear_reference};

/// Elements between -1 and 1, the same for a seed.
fn values<const D: usize>(seed: usize, shape: [usize; D]) -> Vec<f32> {
    let value = |i| ((i * 37 + i / 7 + seed * 11) % 101) as f32 / 50.0 - 1.0;
    (0..shape.iter().product()).map(value).collect()
}

/// Makes tensors of one type on a device.
struct Maker {
    device: Device,
    dtype: FloatDType,
}

impl Maker {
    /// Elements between -1 and 1, the same for a seed in each type.
    fn tensor<const D: usize>(&self, seed: usize, shape: [usize; D]) -> CubeTensor {
        let data = TensorData::new(values(seed, shape), shape);
        let tensor = Tensor::<D>::from_data(data, &self.device);
        into_cube(tensor.cast(FloatDType::F16).cast(self.dtype))
    }

    /// The same, but for tensors in f32.
    fn in_f32(&self) -> Self {
        Self {
            device: self.device.clone(),
            dtype: FloatDType::F32,
        }
    }
}

/// The elements of a contiguous tensor of any rank.
fn elements(tensor: &CubeTensor) -> Vec<f32> {
    let vector = CubeTensor::new_contiguous(
        tensor.client.clone(),
        tensor.device.clone(),
        Shape::new([tensor.shape().num_elements()]),
        tensor.handle.clone(),
        tensor.dtype,
    );
    from_cube::<1>(vector)
        .cast(FloatDType::F32)
        .into_data()
        .iter::<f32>()
        .collect()
}

/// The first `halves` of what `run` returns are in f16, the others in f32.
fn compare(halves: usize, run: impl Fn(&Maker) -> Vec<CubeTensor>) {
    let device = Device::wgpu(DeviceKind::default());
    if !device.supports_dtype(DType::F16) {
        println!("skipped: the device has no f16");
        return;
    }
    let [found, expected] = [FloatDType::F16, FloatDType::F32].map(|dtype| {
        run(&Maker {
            device: device.clone(),
            dtype,
        })
    });
    for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(
            found.dtype == DType::F16,
            number < halves,
            "result {number}"
        );
        let (found, expected) = (elements(found), elements(expected));
        let greatest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(
                (found - expected).abs() <= greatest / 512.0,
                "result {number}, element {at}: {found}, not {expected} of {greatest}"
            );
        }
    }
}

#[test]
fn rms_norm_in_half_precision() {
    for width in [1, 6, 37, 576] {
        compare(2, |make| {
            let x = make.tensor(1, [35, width]);
            let (output, saved) =
                <Cube as RmsNormPasses>::forward(x, make.in_f32().tensor(3, [width]), 1e-5);
            let (grad_x, grad_weight) =
                <Cube as RmsNormPasses>::backward(saved, make.tensor(2, [35, width]), true);
            vec![output, grad_x, grad_weight.expect("wanted")]
        });
    }
}

#[test]
fn a_gradient_of_another_type_is_cast() {
    compare(2, |make| {
        let gate_up = make.tensor(1, [5, 16]);
        let [x, grad_output] = [make.tensor(1, [5, 8]), make.in_f32().tensor(2, [5, 8])];
        let (_, saved) = <Cube as RmsNormPasses>::forward(x, make.in_f32().tensor(3, [8]), 1e-5);
        let (grad_x, grad_weight) =
            <Cube as RmsNormPasses>::backward(saved, grad_output.clone(), false);
        assert!(grad_weight.is_none(), "not wanted");
        vec![
            grad_x,
            <Cube as SwigluPasses>::backward(gate_up, grad_output),
        ]
    });
}

/// More matrices than a launch casts, of widths with and without vectors, two of which are of the
/// type that is wanted.
#[test]
fn several_matrices_are_cast_in_their_order() {
    compare(40, |make| {
        let sizes = |n: usize| [n % 5 + 1, 4 * (n % 3) + n / 37 + 1];
        let matrix = |n: usize| match n {
            7 | 23 => make.tensor(n, sizes(n)),
            _ => make.in_f32().tensor(n, sizes(n)),
        };
        let matrices: Vec<_> = (0..40).map(matrix).collect();
        all_in_type(&matrices, make.dtype.into())
    });
}

#[test]
fn linear_layers_with_trained_adapters_in_half_precision() {
    compare(2, |make| {
        let trained = make.in_f32();
        let layer = |(n, outputs): (usize, usize)| LinearWeight {
            weight: WeightMatrix::Dense(trained.tensor(n, [outputs, 12])),
            adapter: (n != 1).then(|| LowRankAdapter {
                a: trained.tensor(n + 10, [2, 12]),
                b: trained.tensor(n + 20, [outputs, 2]),
                scaling: 0.5,
                mask: None,
            }),
        };
        let operands = LinearOperands {
            input: LinearInput::Plain(make.tensor(1, [35, 12])),
            weights: [8, 6, 3].into_iter().enumerate().map(layer).collect(),
            residual: None,
        };
        let output = <Cube as LinearPasses>::forward(&operands);
        let wanted = operands.as_ref().map(&mut |_| true);
        let grad_output = make.tensor(2, [35, 17]);
        let gradients = <Cube as LinearPasses>::backward(operands, &wanted, grad_output, None);
        let gradients = gradients.into_vec().into_iter().flatten();
        [output].into_iter().chain(gradients).collect()
    });
}

#[test]
fn swiglu_in_half_precision() {
    for width in [1, 6, 37, 64] {
        compare(2, |make| {
            let gate_up = make.tensor(1, [35, 2 * width]);
            let grad_output = make.tensor(2, [35, width]);
            vec![
                <Cube as SwigluPasses>::forward(gate_up.clone()),
                <Cube as SwigluPasses>::backward(gate_up, grad_output),
            ]
        });
    }
}

#[test]
fn embedding_in_half_precision() {
    for hidden in [1, 6, 37, 64] {
        compare(2, |make| {
            let ids = [3, 0, 3, 7, 3];
            let grad_output = make.tensor(2, [5, hidden]);
            let shape = Shape::new([8, hidden]);
            vec![
                <Cube as EmbeddingPasses>::forward(make.tensor(1, [8, hidden]), &ids),
                <Cube as EmbeddingPasses>::backward(shape, &ids, Some(0), grad_output),
            ]
        });
    }
}

fn rotary(make: &Maker, [batch, seq]: [usize; 2], half: usize) -> RotaryEmbedding {
    let positions: Vec<u32> = (0..batch * seq).map(|token| (token % seq) as u32).collect();
    let frequencies: Vec<f32> = (0..half).map(|i| 0.8f32.powi(i as i32)).collect();
    RotaryEmbedding::new([batch, seq], &positions, &frequencies, &make.device)
}

#[test]
fn rotary_embeddings_in_half_precision() {
    for half in [1, 3, 16] {
        compare(1, |make| {
            let rotary = rotary(make, [2, 9], half);
            let heads = make.tensor(1, [2, 9, 3, 2 * half]);
            vec![Cube::rotated(heads, &rotary, Direction::Inverse)]
        });
    }
}

#[test]
fn attention_in_half_precision() {
    for half in [1, 3, 16] {
        compare(2, |make| {
            let shape = attention::Shape {
                batch: 2,
                seq: 41,
                heads: 4,
                key_value_heads: 2,
                head_dim: 2 * half,
            };
            let until: Vec<u32> = (0..82)
                .map(|token| if token % 41 < 25 { 25 } else { 41 })
                .collect();
            let context = Context {
                shape,
                mask: AttentionMask::new([2, 41], &until, &make.device),
                rotary: rotary(make, [2, 41], half),
            };
            let qkv = make.tensor(1, [82, shape.width()]);
            let (output, saved) = <Cube as AttentionPasses>::forward(qkv, context);
            let grad_output = make.tensor(2, [82, shape.output_width()]);
            vec![
                output,
                <Cube as AttentionPasses>::backward(saved, grad_output),
            ]
        });
    }
}

/// Weights that are widened in several parts, of rows in the forward pass and of columns in the
/// backward pass: all in NF4, or one of them in f32.
#[test]
fn weights_that_are_widened_in_parts() {
    let cases = [
        (100, false, false),
        (100, false, true),
        (128, true, false),
        (37, false, true),
    ];
    for (width, with_adapters, one_is_dense) in cases {
        let run = |linear: fn(LinearOperands) -> Tensor<2>, device: Device| {
            let data = |seed, shape: [usize; 2]| TensorData::new(values(seed, shape), shape);
            let leaf = |seed, shape| {
                let tensor = Tensor::<2>::from_data(data(seed, shape), &device);
                tensor.autodiff().require_grad()
            };
            let x = leaf(1, [35, width]);
            let weight = |seed, outputs| {
                let shape = [outputs, width];
                let adapter = LowRankAdapter {
                    a: leaf(seed + 1, [4, width]),
                    b: leaf(seed + 2, [outputs, 4]),
                    scaling: 0.5,
                    mask: None,
                };
                let weight = match one_is_dense && seed == 5 {
                    true => WeightMatrix::Dense(Tensor::from_data(data(seed, shape), &device)),
                    false => {
                        let values = values(seed, shape);
                        WeightMatrix::Nf4(Nf4Weight::quantize(&values, shape, &device))
                    }
                };
                LinearWeight {
                    weight,
                    adapter: with_adapters.then_some(adapter),
                }
            };
            let output = linear(LinearOperands {
                input: LinearInput::Plain(x.clone()),
                weights: vec![weight(2, 24), weight(5, 9), weight(8, 40)],
                residual: None,
            });
            let grad_output = Tensor::<2>::from_data(data(11, [35, 73]), &device).autodiff();
            let gradients = (output.clone() * grad_output).sum().backward();
            let gradient = x.grad(&gradients).expect("tracked").into_data();
            [output.into_data(), gradient]
        };
        let found = run(linear, Device::wgpu(DeviceKind::default()));
        let expected = run(linear_reference, Device::flex());
        for (found, expected) in found.iter().zip(&expected) {
            found.assert_approx_eq(expected, Tolerance::<f32>::rel_abs(2e-4, 2e-5));
        }
    }
}
