//! Logits of answers, and results that are read late.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use plw_kernels::{AnswerTable, Readback, answer_logits, answer_logits_reference, logits};
use proptest::prelude::*;

use crate::{Random, config, device};

/// Small whole numbers, whose products every device and type has exactly, so that there are equals.
fn whole(random: &mut Random, shape: [usize; 2]) -> TensorData {
    let mut draw = || random.below(5) as f32 - 2.0;
    let elements = std::iter::repeat_with(&mut draw);
    let count = shape.iter().product();
    TensorData::new(elements.take(count).collect::<Vec<f32>>(), shape)
}

fn types(device: &Device) -> Vec<FloatDType> {
    let has_half = device.supports_dtype(DType::BF16);
    let half = has_half.then_some(FloatDType::BF16);
    [FloatDType::F32].into_iter().chain(half).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn answers_equal_their_reference(
        seed: u64,
        rows in 1usize..9,
        hidden in 1usize..5,
        vocab in 1usize..1500,
        options in proptest::collection::vec(1usize..7, 1..20),
        damaged in proptest::option::of(0usize..1500),
    ) {
        let mut random = Random::new(seed);
        let states = whole(&mut random, [rows, hidden]);
        let mut head = whole(&mut random, [vocab, hidden]);
        if let Some(token) = damaged {
            let elements = head.as_mut_slice::<f32>().expect("elements of f32");
            elements[token % vocab * hidden] = [f32::NAN, f32::INFINITY][token % 2];
        }
        let mut table = AnswerTable::default();
        for count in options {
            let options: Vec<u32> = (0..count).map(|_| random.below(vocab) as u32).collect();
            table.push(random.below(rows) as u32, &options, random.below(count));
        }
        let cpu = Device::flex();
        let tensor = |data: &TensorData, device| Tensor::<2>::from_data(data.clone(), device);
        let expected =
            answer_logits_reference(tensor(&states, &cpu), tensor(&head, &cpu), &table);
        let expected = table.of_values(&Readback::new(vec![expected]).wait().concat());
        let device = device();
        for dtype in types(&device) {
            let found =
                answer_logits(tensor(&states, &device).cast(dtype), tensor(&head, &device), &table);
            let found = table.of_values(&Readback::new(vec![found]).wait().concat());
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert_eq!(found.is_finite, expected.is_finite);
                if expected.is_finite {
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}

#[test]
fn results_that_are_read_after_other_work_or_never_disturb_nothing() {
    let device = device();
    let operand = Tensor::<2>::ones([64, 64], &device);
    let mut queued = Vec::new();
    for number in 0..50 {
        let values = Tensor::<1>::full([999], number as f32, &device);
        let product = logits(operand.clone(), operand.clone()).slice([0..1, 0..7]);
        queued.push((number, Readback::new(vec![values, product.reshape([7])])));
    }
    for (number, values) in queued {
        if number % 3 == 0 {
            drop(values);
            continue;
        }
        let expected = [vec![number as f32; 999], vec![64.0; 7]];
        assert_eq!(values.wait(), expected);
    }
}
