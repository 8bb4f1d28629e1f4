use super::*;
use crate::flex::attention::random_mask::{MaskKind, mask_kind, random_mask, sequence_length};
use burn::tensor::{Device, Gradients, TensorData, Tolerance};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const VISIBLE_UNTIL: [u32; 10] = [2, 2, 5, 5, 5, 4, 2, 4, 4, 5];
const SHAPE: [usize; 2] = [2, 5];
const HEADS: usize = 4;
const SHARED: usize = 2;
const WIDTH: usize = 3;

/// Head by head and query by query, in f64.
fn expected(query: &[f32], key: &[f32], value: &[f32]) -> Vec<f64> {
    let [batch, seq] = SHAPE;
    let mut output = Vec::new();
    for (row, i, head) in (0..batch)
        .flat_map(|row| (0..seq).flat_map(move |i| (0..HEADS).map(move |head| (row, i, head))))
    {
        let q = &query[((row * seq + i) * HEADS + head) * WIDTH..][..WIDTH];
        let at = |j: usize| ((row * seq + j) * SHARED + head * SHARED / HEADS) * WIDTH;
        let seen: Vec<usize> = (0..=i)
            .filter(|j| i < VISIBLE_UNTIL[row * seq + j] as usize)
            .collect();
        let weights: Vec<f64> = seen
            .iter()
            .map(|&j| {
                let k = &key[at(j)..][..WIDTH];
                let product: f64 = q
                    .iter()
                    .zip(k)
                    .map(|(&a, &b)| f64::from(a) * f64::from(b))
                    .sum();
                (product / (WIDTH as f64).sqrt()).exp()
            })
            .collect();
        let sum: f64 = weights.iter().sum();
        output.extend((0..WIDTH).map(|column| {
            let weighted = seen
                .iter()
                .zip(&weights)
                .map(|(&j, w)| w * f64::from(value[at(j) + column]));
            weighted.sum::<f64>() / sum
        }));
    }
    output
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data_as::<f32>()
        .as_slice()
        .expect("just read as f32")
        .to_vec()
}

fn random(heads: usize, seed: u64, device: &Device) -> Tensor<4> {
    let shape = [SHAPE[0], SHAPE[1], heads, WIDTH];
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let draw = || generator.random_range(-2.0..2.0f32);
    let values = std::iter::repeat_with(draw)
        .take(shape.iter().product())
        .collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[test]
fn it_is_the_formula_under_the_mask() {
    let device = Device::flex();
    let [query, key, value] =
        [(HEADS, 1), (SHARED, 2), (SHARED, 3)].map(|(heads, seed)| random(heads, seed, &device));
    let mask = AttentionMask::new(SHAPE, &VISIBLE_UNTIL, &device);
    let found = values(attend([query.clone(), key.clone(), value.clone()], &mask));
    for (found, expected) in
        found
            .iter()
            .zip(expected(&values(query), &values(key), &values(value)))
    {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-5,
            "{found} {expected}"
        );
    }
}

#[test]
fn gradients_are_finite_differences() {
    let device = Device::flex().autodiff();
    let inputs = [(HEADS, 4), (SHARED, 5), (SHARED, 6)]
        .map(|(heads, seed)| random(heads, seed, &device).require_grad());
    let probe = random(HEADS, 7, &device).inner();
    let mask = AttentionMask::new(SHAPE, &VISIBLE_UNTIL, &device);
    let output = attend(inputs.clone(), &mask);
    let gradients: Gradients = (output * Tensor::from_inner(probe.clone()))
        .sum()
        .backward();
    let plain = inputs.clone().map(|x| values(x.inner()));
    let probe = values(probe);
    let loss = |plain: &[Vec<f32>; 3]| -> f64 {
        let output = expected(&plain[0], &plain[1], &plain[2]);
        output
            .iter()
            .zip(&probe)
            .map(|(o, &p)| o * f64::from(p))
            .sum()
    };
    for (number, input) in inputs.iter().enumerate() {
        let gradient = values(input.grad(&gradients).expect("required"));
        for (index, found) in gradient.into_iter().enumerate() {
            let [above, below] = [1e-2, -1e-2].map(|step| {
                let mut moved = plain.clone();
                moved[number][index] += step;
                (loss(&moved), f64::from(moved[number][index]))
            });
            let slope = (above.0 - below.0) / (above.1 - below.1);
            assert!(
                (slope - f64::from(found)).abs() < 1e-3,
                "{number} {index}: {found} {slope}"
            );
        }
    }
}

/// Arguments of [`attention`]. The heads are data, so that a test decides who holds the tensor.
struct Case {
    qkv: TensorData,
    rotary: RotaryEmbedding,
    mask: AttentionMask,
    grad_output: Tensor<2>,
}

fn case(
    [batch, seq]: [usize; 2],
    heads: AttentionHeads,
    kind: MaskKind,
    seed: u64,
    device: &Device,
) -> Case {
    let AttentionHeads {
        query,
        key_value,
        head_dim,
    } = heads;
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let until = random_mask(&mut generator, kind, batch, seq);
    let positions: Vec<u32> = (0..(batch * seq) as u32).map(|i| i * 11 % 90).collect();
    let frequencies: Vec<f32> = (0..head_dim / 2).map(|i| 0.9f32.powi(i as i32)).collect();
    let mut random = |width: usize| {
        let draw = || generator.random_range(-1.5..1.5f32);
        let values: Vec<f32> = std::iter::repeat_with(draw)
            .take(batch * seq * width)
            .collect();
        TensorData::new(values, [batch * seq, width])
    };
    Case {
        qkv: random((query + 2 * key_value) * head_dim),
        rotary: RotaryEmbedding::new([batch, seq], &positions, &frequencies, device),
        mask: AttentionMask::new([batch, seq], &until, device),
        grad_output: Tensor::from_data(random(query * head_dim), device),
    }
}

type Form<'a> =
    &'a dyn Fn(Tensor<2>, AttentionHeads, &RotaryEmbedding, &AttentionMask) -> Tensor<2>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn all_forms_agree_in_value_and_gradient_under_random_masks(
        batch in 1usize..3,
        seq in sequence_length(),
        key_value in 1usize..3,
        group in 1usize..4,
        head_dim in prop::sample::select(vec![2usize, 6, 48, 64, 80, 128]),
        kind in mask_kind(),
        seed: u64,
    ) {
        let device = Device::flex().autodiff();
        let heads = AttentionHeads { query: group * key_value, key_value, head_dim };
        let example = case([batch, seq], heads, kind, seed, &device);
        let qkv = Tensor::<2>::from_data(example.qkv, &device).require_grad();
        let by_spans = |qkv, heads, rotary: &_, mask: &AttentionMask| {
            by_rows(qkv, heads, rotary, mask, mask.span_rows())
        };
        let forms: [Form; 3] = [&attention, &attention_reference, &by_spans];
        let [fused, plain, by_spans] = forms.map(|attention| {
            let output = attention(qkv.clone(), heads, &example.rotary, &example.mask);
            let gradients = (output.clone() * example.grad_output.clone()).sum().backward();
            let gradient = qkv.grad(&gradients).expect("tracked");
            (output.into_data(), gradient.into_data())
        });
        let tolerance = Tolerance::<f32>::rel_abs(1e-4, 5e-5);
        fused.0.assert_approx_eq(&plain.0, tolerance);
        fused.1.assert_approx_eq(&plain.1, tolerance);
        by_spans.0.assert_approx_eq(&plain.0, tolerance);
        by_spans.1.assert_approx_eq(&plain.1, tolerance);
    }
}

#[test]
fn rotating_in_place_gives_the_same_result() {
    let heads = AttentionHeads {
        query: 4,
        key_value: 2,
        head_dim: 6,
    };
    let tolerance = Tolerance::<f32>::rel_abs(1e-4, 2e-5);
    let plain_device = Device::flex();
    let example = case([2, 70], heads, MaskKind::Trees, 3, &plain_device);
    let forms: [Form; 2] = [&attention, &attention_reference];
    let [found, expected] = forms.map(|attention| {
        let qkv = Tensor::from_data(example.qkv.clone(), &plain_device);
        attention(qkv, heads, &example.rotary, &example.mask).into_data()
    });
    found.assert_approx_eq(&expected, tolerance);

    let device = Device::flex().autodiff();
    let example = case([2, 70], heads, MaskKind::Trees, 3, &device);
    let [found, expected] = forms.map(|attention| {
        let leaf = Tensor::<2>::from_data(example.qkv.clone(), &device).require_grad();
        // An addition keeps neither its operands nor its result for the backward pass.
        let qkv = leaf.clone().add_scalar(0.25);
        let output = attention(qkv, heads, &example.rotary, &example.mask);
        let gradients = (output.clone() * example.grad_output.clone())
            .sum()
            .backward();
        let gradient = leaf.grad(&gradients).expect("tracked");
        (output.into_data(), gradient.into_data())
    });
    found.0.assert_approx_eq(&expected.0, tolerance);
    found.1.assert_approx_eq(&expected.1, tolerance);
}

#[test]
fn no_tokens_give_an_empty_tensor() {
    let device = Device::flex().autodiff();
    let heads = AttentionHeads {
        query: 4,
        key_value: 2,
        head_dim: 6,
    };
    for shape in [[0, 0], [0, 5], [3, 0]] {
        let example = case(shape, heads, MaskKind::Trees, 0, &device);
        let qkv = Tensor::<2>::from_data(example.qkv, &device).require_grad();
        let output =
            |attention: Form| attention(qkv.clone(), heads, &example.rotary, &example.mask);
        assert_eq!(output(&attention_reference).dims(), [0, 24]);
        let output = output(&attention);
        assert_eq!(output.dims(), [0, 24]);
        let gradients = output.sum().backward();
        let gradient = qkv.grad(&gradients).expect("tracked");
        assert_eq!(gradient.dims(), [0, 48]);
    }
}

#[test]
fn an_invalid_mask_is_refused() {
    for (until, expected) in [
        (
            &[1, 2, 3][..],
            "a mask of 1 rows of 4 tokens has one entry per token",
        ),
        (
            &[5, 5, 5, 5],
            "row 0, token 0: visible until 5, not until 1 to 4",
        ),
        (
            &[4, 4, 2, 4],
            "row 0, token 2: visible until 2, not until 3 to 4",
        ),
    ] {
        let refusal = std::panic::catch_unwind(|| {
            AttentionMask::new([1, 4], until, &Device::flex());
        });
        let message = *refusal
            .expect_err("refused")
            .downcast::<String>()
            .expect("a formatted message");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
#[should_panic(expected = "the query's heads are no multiple")]
fn heads_that_share_unevenly_are_refused() {
    let device = Device::flex();
    let heads = AttentionHeads {
        query: 3,
        key_value: 2,
        head_dim: 2,
    };
    let example = case([1, 4], heads, MaskKind::Trees, 0, &device);
    attention(
        Tensor::from_data(example.qkv, &device),
        heads,
        &example.rotary,
        &example.mask,
    );
}
