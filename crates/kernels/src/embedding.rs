//! Looking tokens up in an embedding table.

use burn::tensor::{Bool, Int, Tensor, TensorData};

use crate::operations;

/// The rows `token_ids` of a table `[vocab, hidden]`: `[tokens, hidden]`. The row of `padding` gets
/// no gradient from the lookup, as with PyTorch's `nn.Embedding(padding_idx)`.
///
/// On flex and on a GPU this is one pass forward and one backward, elsewhere
/// [`embedding_reference`].
///
/// # Panics
///
/// Where a token is outside the vocabulary, which is a bug of the caller.
pub fn embedding(table: Tensor<2>, token_ids: &[u32], padding: Option<u32>) -> Tensor<2> {
    let [vocab, _] = table.dims();
    assert!(
        token_ids.iter().all(|&token| (token as usize) < vocab),
        "a token is outside the vocabulary of {vocab}"
    );
    match operations::has_kernels(&table) {
        true => operations::embedding::embedding(table, token_ids.into(), padding),
        false => embedding_reference(table, token_ids, padding),
    }
}

/// Some rows of a matrix `[tokens, width]`: `[rows, width]`. It is [`embedding`] of another table:
/// the backward pass of Burn's own selection adds the rows one by one on a GPU.
///
/// # Panics
///
/// Where a row is outside the matrix, which is a bug of the caller.
pub fn select_rows(x: Tensor<2>, rows: &[u32]) -> Tensor<2> {
    embedding(x, rows, None)
}

/// [`embedding`] as a chain of Burn operations.
pub fn embedding_reference(table: Tensor<2>, token_ids: &[u32], padding: Option<u32>) -> Tensor<2> {
    let device = table.device();
    let [_, hidden] = table.dims();
    let tokens = token_ids.len();
    let indices: Vec<i64> = token_ids.iter().map(|&token| token.into()).collect();
    let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [tokens]), &device);
    let embedded = table.select(0, indices);
    let is_padding: Vec<bool> = token_ids.iter().map(|&t| Some(t) == padding).collect();
    if !embedded.is_tracked() || !is_padding.contains(&true) {
        return embedded;
    }
    let is_padding =
        Tensor::<2, Bool>::from_data(TensorData::new(is_padding, [tokens, 1]), &device);
    let constant = embedded.clone().detach();
    embedded.mask_where(is_padding.expand([tokens, hidden]), constant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, Tolerance};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_kernel_equals_the_reference_in_value_and_gradient(
            tokens in proptest::collection::vec(0u32..7, 1..40),
            hidden in 1usize..20,
            padding in proptest::option::of(0u32..7),
            is_tied: bool,
        ) {
            let device = Device::flex().autodiff();
            let random = |rows| {
                Tensor::<2>::random([rows, hidden], Distribution::Default, &device)
            };
            let table = random(7).require_grad();
            let (grad_output, rows) = (random(tokens.len()), random(3));
            let [fused, plain] = [embedding, embedding_reference].map(|embedding| {
                let output = embedding(table.clone(), &tokens, padding);
                let mut loss = (output.clone() * grad_output.clone()).sum();
                if is_tied {
                    loss = loss + rows.clone().matmul(table.clone().transpose()).exp().sum();
                }
                let gradients = loss.backward();
                (output.into_data(), table.grad(&gradients).expect("tracked").into_data())
            });
            let tolerance = Tolerance::<f32>::rel_abs(1e-5, 1e-5);
            fused.0.assert_approx_eq(&plain.0, tolerance);
            fused.1.assert_approx_eq(&plain.1, tolerance);
        }
    }

    #[test]
    #[should_panic(expected = "outside the vocabulary of 3")]
    fn a_token_outside_the_vocabulary_is_refused() {
        let table = Tensor::zeros([3, 2], &Device::flex());
        embedding(table, &[1, 3], None);
    }
}
