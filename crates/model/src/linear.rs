//! A linear layer without bias, with or without a low-rank adapter.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use plw_kernels::{LinearOperands, LinearWeight, LowRankAdapter, linear};

use crate::dropout::Dropout;
use crate::weight::Weight;

/// `y = x W^T`, plus `alpha / r * dropout(x) A^T B^T` where there is an adapter.
///
/// W is `[out, in]`, as PyTorch stores it: gemm reads the transpose as fast, and no tensor is
/// transposed on its way from or to a file.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Weight,
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

/// A linear layer's position in the model, and the dropout of the forward pass. Together they
/// determine the layer's mask.
#[derive(Clone, Copy)]
pub(crate) struct DropoutSite<'a> {
    pub(crate) dropout: Option<&'a Dropout>,
    pub(crate) layer: usize,
    pub(crate) module: usize,
}

impl Lora {
    fn low_rank_adapter(&self, site: DropoutSite<'_>) -> LowRankAdapter {
        let dropout = site.dropout.filter(|_| self.dropout > 0.0);
        LowRankAdapter {
            a: self.a.val(),
            b: self.b.val(),
            scaling: self.scaling(),
            mask: dropout.map(|dropout| dropout.mask(site.layer, site.module, self.dropout)),
        }
    }

    fn scaling(&self) -> f64 {
        let [r, _] = self.a.dims();
        self.alpha / r as f64
    }
}

impl Linear {
    pub(crate) fn new(weight: Weight) -> Self {
        Self { weight, lora: None }
    }

    /// The weight and its adapter, as the kernels take them.
    pub(crate) fn linear_weight(&self, site: DropoutSite<'_>) -> LinearWeight {
        LinearWeight {
            weight: self.weight.matrix(),
            adapter: self.lora.as_ref().map(|lora| lora.low_rank_adapter(site)),
        }
    }

    /// The layer with the weight `W + scaling * B A` and no adapter.
    pub(crate) fn merged(self) -> Self {
        let Some(lora) = &self.lora else {
            return self;
        };
        let (a, b) = (lora.a.val(), lora.b.val());
        let device = b.device();
        // B A. Burn's own product rounds f32 on some GPUs.
        let update = linear(LinearOperands::plain(b.inner(), a.inner().transpose()));
        let merged = self.weight.to_f32() + update.mul_scalar(lora.scaling());
        Self::new(Weight::dense(merged, &device))
    }
}
