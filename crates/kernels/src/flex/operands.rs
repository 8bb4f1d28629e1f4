//! The tensors of a linear layer's product, in whatever form.

/// What the rows of a product's left side are made of, before the product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Preparation {
    /// The input as it is.
    Plain,
    /// RMSNorm of the input.
    Normalised { epsilon: f64 },
    /// The gated activation of the input, which is twice as wide.
    Gated,
}

/// The tensors of a product, be they Burn's, slices or nodes of a graph.
#[derive(Debug, Clone)]
pub(crate) struct Operands<T> {
    /// `[tokens, in]`, or `[tokens, 2 * in]` where gated.
    pub(crate) input: T,
    /// `[in]`, where normalised.
    pub(crate) norm: Option<T>,
    /// `[tokens, out]`, added to the product.
    pub(crate) residual: Option<T>,
    /// Their products stand side by side in the result.
    pub(crate) factors: Vec<Factor<T>>,
}

/// A weight and its adapter.
#[derive(Debug, Clone)]
pub(crate) struct Factor<T> {
    /// `[out, in]`.
    pub(crate) weight: T,
    pub(crate) adapter: Option<Adapter<T>>,
}

/// A low-rank update of a weight.
#[derive(Debug, Clone)]
pub(crate) struct Adapter<T> {
    /// `[r, in]`.
    pub(crate) a: T,
    /// `[out, r]`.
    pub(crate) b: T,
    /// `[tokens, in]`: what the update's input is multiplied by.
    pub(crate) mask: Option<T>,
    /// What the update is multiplied by.
    pub(crate) scaling: f32,
}

impl<T> Operands<T> {
    /// The same with each tensor in another form; `form` meets them in one fixed order.
    pub(crate) fn map<U>(self, form: &mut impl FnMut(T) -> U) -> Operands<U> {
        Operands {
            input: form(self.input),
            norm: self.norm.map(&mut *form),
            residual: self.residual.map(&mut *form),
            factors: self
                .factors
                .into_iter()
                .map(|factor| Factor {
                    weight: form(factor.weight),
                    adapter: factor.adapter.map(|adapter| Adapter {
                        a: form(adapter.a),
                        b: form(adapter.b),
                        mask: adapter.mask.map(&mut *form),
                        scaling: adapter.scaling,
                    }),
                })
                .collect(),
        }
    }

    pub(crate) fn as_ref(&self) -> Operands<&T> {
        Operands {
            input: &self.input,
            norm: self.norm.as_ref(),
            residual: self.residual.as_ref(),
            factors: self
                .factors
                .iter()
                .map(|factor| Factor {
                    weight: &factor.weight,
                    adapter: factor.adapter.as_ref().map(|adapter| Adapter {
                        a: &adapter.a,
                        b: &adapter.b,
                        mask: adapter.mask.as_ref(),
                        scaling: adapter.scaling,
                    }),
                })
                .collect(),
        }
    }

    /// The tensors in the order of [`Operands::map`].
    pub(crate) fn into_tensors(self) -> Vec<T> {
        let mut tensors = Vec::new();
        self.map(&mut |tensor| tensors.push(tensor));
        tensors
    }
}
