//! A linear layer without bias, with or without a low-rank adapter.

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor};
use plw_kernels::{LinearWeight, LowRank};

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
    fn factor(&self, place: DropoutPlace<'_>) -> LowRank {
        let a = self.a.val();
        let [_, columns] = a.dims();
        let mask = place.dropout.filter(|_| self.dropout > 0.0).map(|dropout| {
            let device = a.device();
            dropout.mask(place.layer, place.module, self.dropout, columns, &device)
        });
        LowRank {
            a,
            b: self.b.val(),
            scaling: self.scaling(),
            mask,
        }
    }

    fn scaling(&self) -> f64 {
        let [r, _] = self.a.dims();
        self.alpha / r as f64
    }
}

impl Linear {
    pub(crate) fn new(weight: Param<Tensor<2>>) -> Self {
        Self { weight, lora: None }
    }

    /// The weight and its adapter, for a product.
    pub(crate) fn factor(&self, place: DropoutPlace<'_>) -> LinearWeight {
        LinearWeight {
            weight: self.weight.val(),
            low_rank: self.lora.as_ref().map(|lora| lora.factor(place)),
        }
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
            let merged = weight.clone().inner().cast(FloatDType::F32) + update;
            if weight.is_autodiff() {
                merged.autodiff()
            } else {
                merged
            }
        }))
    }
}
