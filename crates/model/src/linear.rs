//! A linear layer without bias, with or without a low-rank adapter.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::dropout::Dropout;

/// `y = x W^T`, plus the adapter's `alpha / r * dropout(x) A^T B^T` where there is one.
///
/// W is `[out, in]`, as PyTorch stores it: gemm reads the transpose as fast, and no tensor is turned on its way from or
/// to a file.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Param<Tensor<2>>,
    pub(crate) lora: Option<Lora>,
}

/// A low-rank adapter (Hu et al. 2021, arXiv 2106.09685).
#[derive(Module, Debug)]
pub(crate) struct Lora {
    /// `[r, in]`.
    pub(crate) a: Param<Tensor<2>>,
    /// `[out, r]`.
    pub(crate) b: Param<Tensor<2>>,
    /// The update is scaled by alpha / r.
    #[module(skip)]
    pub(crate) alpha: f64,
    /// Probability that an input of the adapter is dropped.
    #[module(skip)]
    pub(crate) dropout: f64,
}

/// Where a linear layer stands, and the forward pass's dropout: what keys its mask.
#[derive(Clone, Copy)]
pub(crate) struct DropoutPlace<'a> {
    pub(crate) dropout: Option<&'a Dropout>,
    pub(crate) layer: usize,
    pub(crate) module: usize,
}

impl Lora {
    fn scaling(&self) -> f64 {
        let [r, _] = self.a.dims();
        self.alpha / r as f64
    }
}

impl Linear {
    pub(crate) fn new(weight: Param<Tensor<2>>) -> Self {
        Self { weight, lora: None }
    }

    /// `[tokens, in]` to `[tokens, out]`.
    pub(crate) fn forward(&self, x: Tensor<2>, place: DropoutPlace<'_>) -> Tensor<2> {
        let Some(lora) = &self.lora else {
            return x.matmul(self.weight.val().transpose());
        };
        let base = x.clone().matmul(self.weight.val().transpose());
        let x = match place.dropout {
            Some(dropout) if lora.dropout > 0.0 => {
                let [_, columns] = x.dims();
                let device = x.device();
                x * dropout.mask(place.layer, place.module, lora.dropout, columns, &device)
            }
            _ => x,
        };
        let low_rank = x
            .matmul(lora.a.val().transpose())
            .mul_scalar(lora.scaling());
        base + low_rank.matmul(lora.b.val().transpose())
    }

    /// The same layer with `W + scaling * B A` for a weight and no adapter.
    pub(crate) fn merged(self) -> Self {
        let Some(lora) = self.lora else { return self };
        let update = lora
            .b
            .val()
            .inner()
            .matmul(lora.a.val().inner())
            .mul_scalar(lora.scaling());
        Self::new(self.weight.map(|weight| {
            let merged = weight.clone().inner() + update;
            if weight.is_autodiff() {
                merged.autodiff()
            } else {
                merged
            }
        }))
    }
}
