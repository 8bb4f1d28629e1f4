use super::*;
use crate::readback::Readback;
use burn::tensor::Device;

/// The result of one row of logits: hidden states of 1 and a head of one column are these logits.
fn found(logits: &[f32], options: &[u32], answer: usize) -> AnswerLogits {
    let device = Device::flex();
    let head = TensorData::new(logits.to_vec(), [logits.len(), 1]);
    let head = Tensor::<2>::from_data(head, &device);
    let hidden = Tensor::<2>::ones([1, 1], &device);
    let mut table = AnswerTable::default();
    table.push(0, options, answer);
    let [kernel, reference] = [answer_logits, answer_logits_reference].map(|answer_logits| {
        let values = answer_logits(hidden.clone(), head.clone(), &table);
        let read = Readback::new(vec![values]).wait().concat();
        table.of_values(&read).remove(0)
    });
    if kernel.is_finite {
        assert_eq!(kernel, reference);
    }
    assert_eq!(kernel.is_finite, reference.is_finite);
    kernel
}

#[test]
fn the_first_of_equals_is_the_greatest() {
    let logits = [0.0, 2.0, 2.0, 1.0];
    let greatest = [0, 1, 2, 3].map(|answer| found(&logits, &[0, 1, 2, 3], answer).is_greatest);
    assert_eq!(greatest, [false, true, false, false]);
    assert!(found(&[-1.0], &[0], 0).is_greatest);
    assert!(!found(&[0.0, -0.0], &[1], 0).is_greatest);
    assert!(found(&[-0.0, 0.0], &[0], 0).is_greatest);
    // A token that is no option may have the greatest.
    assert!(!found(&[3.0, 1.0, 2.0], &[1, 2], 1).is_greatest);
}

#[test]
fn options_have_their_logits_in_their_order() {
    let logits = [0.5, -2.0, 1.25, 7.0];
    assert_eq!(found(&logits, &[3, 1, 1], 0).options, [7.0, -2.0, -2.0]);
    assert_eq!(found(&logits, &[2], 0).options, [1.25]);
}

#[test]
fn a_logit_anywhere_that_is_not_finite_is_found() {
    for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in 0..40 {
            let mut logits = [1.0; 40];
            logits[place] = value;
            assert!(!found(&logits, &[7, 9], 0).is_finite, "{value} at {place}");
        }
    }
    assert!(found(&[f32::MAX, f32::MIN, 0.0], &[0], 0).is_finite);
}

#[test]
fn rows_are_told_apart() {
    let device = Device::flex();
    let head = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], &device);
    let hidden = Tensor::<2>::from_data([[2.0, 1.0], [f32::NAN, 0.0], [1.0, 3.0]], &device);
    let mut table = AnswerTable::default();
    table.push(2, &[0, 1], 1);
    table.push(1, &[2], 0);
    table.push(0, &[0, 1, 2], 1);
    table.push(2, &[1], 0);
    assert_eq!((table.len(), table.is_empty()), (4, false));
    for answer_logits in [answer_logits, answer_logits_reference] {
        let values = answer_logits(hidden.clone(), head.clone(), &table);
        let found = table.of_values(&Readback::new(vec![values]).wait().concat());
        let options: Vec<&[f32]> = found.iter().map(|found| &found.options[..]).collect();
        assert_eq!(options[0], [1.0, 3.0]);
        assert_eq!(options[2..], [&[2.0, 1.0, -3.0][..], &[3.0]]);
        let finite = found.iter().map(|found| found.is_finite);
        assert_eq!(finite.collect::<Vec<_>>(), [true, false, true, true]);
        let greatest = [0, 2, 3].map(|line| found[line].is_greatest);
        assert_eq!(greatest, [true, false, true]);
    }
}

#[test]
#[should_panic(expected = "not in the vocabulary")]
fn a_token_outside_the_vocabulary_is_refused() {
    let mut table = AnswerTable::default();
    table.push(0, &[1, 3], 0);
    let device = Device::flex();
    answer_logits(
        Tensor::zeros([1, 2], &device),
        Tensor::zeros([3, 2], &device),
        &table,
    );
}
