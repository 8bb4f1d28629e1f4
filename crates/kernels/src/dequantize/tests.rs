use super::*;
use burn::tensor::{Device, Tolerance};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::flex::nf4::quantize;
use crate::nf4::dynamic;

/// What bitsandbytes computes (`xtask/fixtures/nf4.py`).
#[derive(Deserialize)]
struct Golden {
    nf4: Vec<f32>,
    dynamic: Vec<f32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    count: usize,
    /// A hexadecimal digit for each element.
    codes: String,
    scale_codes: Vec<u32>,
    group_scales: Vec<f32>,
    mean_scale: f32,
    /// Every so many elements.
    dequantized: Vec<f32>,
}

fn golden() -> Golden {
    let text = include_str!("../../tests/fixtures/nf4.json");
    serde_json::from_str(text).expect("the fixture is valid")
}

/// The values of a case, as the script computes them.
fn values(count: usize) -> Vec<f32> {
    let value = |index: u64| {
        let first = index * 2_654_435_761 % (1 << 24);
        let second = (index * 40_503 + 977) % (1 << 24);
        let fraction = (first + second) as f64 / f64::from(1 << 24) - 1.0;
        let block = index / BLOCK as u64;
        let size = match block {
            8 => 0.0,
            _ => 0.01 * (1.0 + (block * 37 % 101) as f64),
        };
        (fraction * size) as f32
    };
    (0..count as u64).map(value).collect()
}

/// The codes of words, `of_word` in each.
fn unpacked(words: &[u32], of_word: usize) -> Vec<u32> {
    let bits = 32 / of_word;
    let codes = words
        .iter()
        .flat_map(|word| (0..of_word).map(move |place| word >> (bits * place) & ((1 << bits) - 1)));
    codes.collect()
}

#[test]
fn code_books_have_the_bits_of_those_of_bitsandbytes() {
    let Golden {
        nf4, dynamic: map, ..
    } = golden();
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&NF4), bits(&nf4));
    assert_eq!(bits(&dynamic()), bits(&map));
}

#[test]
fn codes_and_scales_are_those_of_bitsandbytes() {
    for case in golden().cases {
        let found = quantize(&values(case.count));
        let codes = unpacked(&found.codes, CODES_OF_WORD).into_iter();
        let digit = |code| char::from_digit(code, 16).expect("4 bits");
        let codes: String = codes.take(case.count).map(digit).collect();
        assert_eq!(codes, case.codes);
        assert_eq!(found.group_scales.len(), case.group_scales.len());
        let near = |a: f32, b: f32| (a - b).abs() <= 1e-6 * b.abs();
        assert!(near(found.mean_scale, case.mean_scale));
        let scale_codes = unpacked(&found.scale_codes, SCALE_CODES_OF_WORD);
        for (index, code) in case.scale_codes.into_iter().enumerate() {
            let group = index / GROUP;
            assert!(near(found.group_scales[group], case.group_scales[group]));
            // Where all scales of a group are their mean, the code has no meaning.
            if case.group_scales[group] > 0.0 {
                assert_eq!(scale_codes[index], code, "the scale of block {index}");
            }
        }
    }
}

#[test]
fn dequantized_values_are_those_of_bitsandbytes() {
    for case in golden().cases {
        let weight = Nf4Weight::quantize(&values(case.count), [1, case.count], &Device::flex());
        let found = dequantize(&weight).into_data();
        let found = found.as_slice::<f32>().expect("f32");
        let every = (case.count / 200).max(1);
        let found: Vec<f32> = found.iter().copied().step_by(every).collect();
        let shape = [found.len()];
        let expected = TensorData::new(case.dequantized, shape);
        TensorData::new(found, shape)
            .assert_approx_eq(&expected, Tolerance::<f32>::rel_abs(1e-6, 1e-7));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_kernel_equals_the_reference(
        seed: u64,
        rows in 1usize..200,
        width in 1usize..400,
        precision in prop_oneof![
            Just(FloatDType::F32), Just(FloatDType::BF16), Just(FloatDType::F16)
        ],
    ) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let draw = || random.random_range(-1.0..1.0f32);
        let values: Vec<f32> = std::iter::repeat_with(draw).take(rows * width).collect();
        let weight = Nf4Weight::quantize(&values, [rows, width], &Device::flex());
        let weight = weight.rounded_to(precision);
        let found = dequantize(&weight).into_data();
        let expected = dequantize_reference(&weight).into_data();
        found.assert_eq(&expected, true);
        // The widest gap between two values is 0.30 of a block's greatest magnitude.
        let found = found.as_slice::<f32>().expect("f32");
        let errors = found.iter().zip(&values).map(|(found, value)| (found - value).abs());
        prop_assert!(errors.fold(0.0, f32::max) < 0.16);
    }
}

#[test]
fn bytes_are_those_of_the_tensors() {
    for count in [64, 1000, 64 * 600] {
        let weight = Nf4Weight::quantize(&values(count), [1, count], &Device::flex());
        let words = weight.tensors.codes.dims()[0] + weight.tensors.scale_codes.dims()[0];
        let floats = weight.tensors.group_scales.dims()[0] + weight.tensors.code_books.dims()[0];
        assert_eq!(Nf4Weight::bytes(count as u64), 4 * (words + floats) as u64);
    }
}
