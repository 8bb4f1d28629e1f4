//! The operands of a linear layer, in one type for all their forms: Burn's tensors, slices, nodes
//! of a graph, gradients.

use burn::backend::DispatchTensor;
use burn::tensor::Tensor;

use crate::dropout_mask::DropoutMask;
use crate::nf4_weight::Nf4Weight;

/// `residual + [f(x) W_1^T, f(x) W_2^T, ..]`: the operands of a linear layer with its input's
/// preparation `f`, one to three weights whose products stand side by side, and a residual.
///
/// `M` is the type of a matrix, and `V` that of a vector.
#[derive(Debug, Clone)]
pub struct LinearOperands<M = Tensor<2>, V = Tensor<1>> {
    /// What the weights are multiplied by.
    pub input: LinearInput<M, V>,
    /// Their products stand side by side in the output.
    pub weights: Vec<LinearWeight<M>>,
    /// `[tokens, sum of out]`, added to the products.
    pub residual: Option<M>,
}

impl<M, V> LinearOperands<M, V> {
    /// `x W^T` alone, for `x` `[tokens, in]` and a weight `[out, in]`.
    pub fn plain(x: M, weight: M) -> Self {
        Self {
            input: LinearInput::Plain(x),
            weights: vec![LinearWeight {
                weight: WeightMatrix::Dense(weight),
                adapter: None,
            }],
            residual: None,
        }
    }
}

/// The input of a linear layer, with what happens to it before the product. The result of that is
/// not kept for the backward pass, which computes it again.
#[derive(Debug, Clone)]
pub enum LinearInput<M = Tensor<2>, V = Tensor<1>> {
    /// `[tokens, in]`, as it is.
    Plain(M),
    /// [`rms_norm`](crate::rms_norm()) of `x`.
    Normalized {
        /// `[tokens, in]`.
        x: M,
        /// `[in]`.
        weight: V,
        /// Added to the mean of the squares.
        epsilon: f64,
    },
    /// [`swiglu`](crate::swiglu()) of `[tokens, 2 * in]`.
    Gated(M),
}

/// A weight `[out, in]`, as PyTorch stores it, and its adapter.
#[derive(Debug, Clone)]
pub struct LinearWeight<M = Tensor<2>> {
    /// `[out, in]`.
    pub weight: WeightMatrix<M>,
    /// Added to the weight.
    pub adapter: Option<LowRankAdapter<M>>,
}

/// A matrix `[out, in]`, as it is held.
#[derive(Debug, Clone)]
pub enum WeightMatrix<M = Tensor<2>> {
    /// A tensor. Without a gradient it may be in half precision; products use it as f32.
    Dense(M),
    /// A frozen weight of 4 bits an element. It is a matrix for as long as a product takes.
    Nf4(Nf4Weight),
}

impl From<Tensor<2>> for WeightMatrix {
    fn from(tensor: Tensor<2>) -> Self {
        Self::Dense(tensor)
    }
}

impl WeightMatrix {
    /// `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Dense(tensor) => tensor.dims(),
            Self::Nf4(weight) => weight.shape(),
        }
    }
}

/// A low-rank update `scaling * (x * mask) A^T B^T` of a product (LoRA: Hu et al. 2021, arXiv
/// 2106.09685).
#[derive(Debug, Clone)]
pub struct LowRankAdapter<M = Tensor<2>> {
    /// `[r, in]`.
    pub a: M,
    /// `[out, r]`.
    pub b: M,
    /// alpha / r.
    pub scaling: f64,
    /// The dropout of the input, `[tokens, in]`.
    pub mask: Option<DropoutMask>,
}

/// Operands that are all of one type.
pub(crate) type Operands<T> = LinearOperands<T, T>;

impl LinearOperands {
    pub(crate) fn into_dispatch(self) -> Operands<DispatchTensor> {
        let form = &mut Tensor::into_dispatch;
        LinearOperands {
            input: match self.input {
                LinearInput::Plain(x) => LinearInput::Plain(x.into_dispatch()),
                LinearInput::Normalized { x, weight, epsilon } => LinearInput::Normalized {
                    x: x.into_dispatch(),
                    weight: weight.into_dispatch(),
                    epsilon,
                },
                LinearInput::Gated(x) => LinearInput::Gated(x.into_dispatch()),
            },
            weights: self.weights.into_iter().map(|w| w.map(form)).collect(),
            residual: self.residual.map(Tensor::into_dispatch),
        }
    }
}

impl<T> Operands<T> {
    /// The same operands in another form. `form` gets them in a fixed order.
    pub(crate) fn map<U>(self, form: &mut impl FnMut(T) -> U) -> Operands<U> {
        LinearOperands {
            input: self.input.map(form),
            weights: self.weights.into_iter().map(|w| w.map(form)).collect(),
            residual: self.residual.map(form),
        }
    }

    pub(crate) fn as_ref(&self) -> Operands<&T> {
        LinearOperands {
            input: self.input.as_ref(),
            weights: self.weights.iter().map(LinearWeight::as_ref).collect(),
            residual: self.residual.as_ref(),
        }
    }

    /// All of them, in the order of [`LinearOperands::map`].
    pub(crate) fn into_vec(self) -> Vec<T> {
        let mut values = Vec::new();
        self.map(&mut |value| values.push(value));
        values
    }
}

impl<M, V> LinearInput<M, V> {
    /// The tensor that is prepared.
    pub(crate) fn x(&self) -> &M {
        match self {
            Self::Plain(x) | Self::Normalized { x, .. } | Self::Gated(x) => x,
        }
    }
}

impl<T> LinearInput<T, T> {
    pub(crate) fn map<U>(self, form: &mut impl FnMut(T) -> U) -> LinearInput<U, U> {
        match self {
            Self::Plain(x) => LinearInput::Plain(form(x)),
            Self::Normalized { x, weight, epsilon } => LinearInput::Normalized {
                x: form(x),
                weight: form(weight),
                epsilon,
            },
            Self::Gated(x) => LinearInput::Gated(form(x)),
        }
    }

    fn as_ref(&self) -> LinearInput<&T, &T> {
        match self {
            Self::Plain(x) => LinearInput::Plain(x),
            Self::Normalized { x, weight, epsilon } => LinearInput::Normalized {
                x,
                weight,
                epsilon: *epsilon,
            },
            Self::Gated(x) => LinearInput::Gated(x),
        }
    }
}

impl<M> WeightMatrix<M> {
    fn map<N>(self, form: impl FnOnce(M) -> N) -> WeightMatrix<N> {
        match self {
            Self::Dense(matrix) => WeightMatrix::Dense(form(matrix)),
            Self::Nf4(weight) => WeightMatrix::Nf4(weight),
        }
    }

    fn as_ref(&self) -> WeightMatrix<&M> {
        match self {
            Self::Dense(matrix) => WeightMatrix::Dense(matrix),
            Self::Nf4(weight) => WeightMatrix::Nf4(weight.clone()),
        }
    }

    /// The matrix of operands that are all dense, as passes over slices take them.
    pub(crate) fn dense(&self) -> &M {
        match self {
            Self::Dense(matrix) => matrix,
            Self::Nf4(_) => unreachable!("a weight in NF4 is made a matrix before the product"),
        }
    }
}

impl WeightMatrix<bool> {
    /// The gradient of a weight, if it is wanted. One in NF4 has none.
    pub(crate) fn gradient<G>(
        &self,
        compute: impl FnOnce() -> Option<G>,
    ) -> WeightMatrix<Option<G>> {
        match self {
            Self::Dense(true) => WeightMatrix::Dense(compute()),
            Self::Dense(false) => WeightMatrix::Dense(None),
            Self::Nf4(weight) => WeightMatrix::Nf4(weight.clone()),
        }
    }
}

impl<M> LinearWeight<M> {
    pub(crate) fn map<N>(self, form: &mut impl FnMut(M) -> N) -> LinearWeight<N> {
        LinearWeight {
            weight: self.weight.map(&mut *form),
            adapter: self.adapter.map(|adapter| LowRankAdapter {
                a: form(adapter.a),
                b: form(adapter.b),
                scaling: adapter.scaling,
                mask: adapter.mask,
            }),
        }
    }

    fn as_ref(&self) -> LinearWeight<&M> {
        LinearWeight {
            weight: self.weight.as_ref(),
            adapter: self.adapter.as_ref().map(|adapter| LowRankAdapter {
                a: &adapter.a,
                b: &adapter.b,
                scaling: adapter.scaling,
                mask: adapter.mask.clone(),
            }),
        }
    }
}
