//! The model, top to bottom: embeddings, decoder layers, final norm.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use plw_batch::Batch;
use plw_kernels::{AttentionMask, LinearInput, Rotations, attention, embedding, linear, rms_norm};

use crate::config::LlamaConfig;
use crate::dropout::{Dropout, DropoutKey};
use crate::linear::{DropoutPlace, Linear};
use crate::weight_type::WeightType;

/// A Llama (Touvron et al. 2023, arXiv 2302.13971; grouped-query attention as in Llama 2 and 3), in f32.
///
/// Parameters have the names that Hugging Face's checkpoints give them. A model on an autodiff device
/// (`Device::flex().autodiff()`) can be trained; [`Module::valid`] gives the same weights without a graph.
#[derive(Module, Debug)]
pub struct Llama {
    pub(crate) model: Decoder,
    /// None where the classifier is the embedding table.
    pub(crate) lm_head: Option<Linear>,
    #[module(skip)]
    config: LlamaConfig,
}

#[derive(Module, Debug)]
pub(crate) struct Decoder {
    pub(crate) embed_tokens: Embedding,
    pub(crate) layers: Vec<DecoderLayer>,
    pub(crate) norm: RmsNorm,
}

#[derive(Module, Debug)]
pub(crate) struct Embedding {
    /// `[vocab, hidden]`.
    pub(crate) weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
pub(crate) struct RmsNorm {
    /// `[hidden]`.
    pub(crate) weight: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
pub(crate) struct DecoderLayer {
    pub(crate) input_layernorm: RmsNorm,
    pub(crate) self_attn: SelfAttention,
    pub(crate) post_attention_layernorm: RmsNorm,
    pub(crate) mlp: Mlp,
}

#[derive(Module, Debug)]
pub(crate) struct SelfAttention {
    pub(crate) q_proj: Linear,
    pub(crate) k_proj: Linear,
    pub(crate) v_proj: Linear,
    pub(crate) o_proj: Linear,
}

#[derive(Module, Debug)]
pub(crate) struct Mlp {
    pub(crate) gate_proj: Linear,
    pub(crate) up_proj: Linear,
    pub(crate) down_proj: Linear,
}

/// What the layers of one forward pass share.
pub(crate) struct Pass<'a> {
    config: &'a LlamaConfig,
    rotations: Rotations,
    mask: AttentionMask,
    dropout: Option<Dropout>,
    /// Of the last layer's output, those asked for.
    rows: &'a [u32],
}

impl Llama {
    /// Hidden states after the final norm, of the flat positions `rows` of `[batch * seq]` only: `[rows, hidden]`.
    ///
    /// `dropout` is the key of the step's masks; without it (evaluation) nothing is dropped. Panics if a token is
    /// outside the vocabulary or a row outside the batch.
    pub fn forward(&self, batch: &Batch, rows: &[u32], dropout: Option<&DropoutKey>) -> Tensor<2> {
        let pass = self.pass(batch, rows, dropout);
        let mut hidden = self.embed(&batch.token_ids);
        for number in 0..self.model.layers.len() {
            hidden = self.layer(number, hidden, &pass);
        }
        self.normalise(hidden)
    }

    /// What the layers share in a forward pass.
    pub(crate) fn pass<'a>(
        &'a self,
        batch: &Batch,
        rows: &'a [u32],
        dropout: Option<&DropoutKey>,
    ) -> Pass<'a> {
        let device = self.model.embed_tokens.weight.device();
        let frequencies = self.config.frequencies();
        Pass {
            config: &self.config,
            rotations: Rotations::new(batch.shape, &batch.position_ids, &frequencies, &device),
            mask: AttentionMask::new(batch.shape, &batch.visible_until, &device),
            dropout: dropout.map(|key| Dropout::new(key, batch)),
            rows,
        }
    }

    /// A layer's output, `[tokens, hidden]`, or the last one's: `[rows, hidden]`.
    pub(crate) fn layer(&self, number: usize, hidden: Tensor<2>, pass: &Pass<'_>) -> Tensor<2> {
        // Nothing attends to what the last layer's MLP makes: only the rows asked for go through it.
        let is_last = number + 1 == self.model.layers.len();
        let rows = is_last.then_some(pass.rows);
        self.model.layers[number].forward(hidden, number, rows, pass)
    }

    /// The norm after the last layer.
    pub(crate) fn normalise(&self, hidden: Tensor<2>) -> Tensor<2> {
        rms_norm(
            hidden,
            self.model.norm.weight.val(),
            self.config.rms_norm_eps,
        )
    }

    /// The tokens' embeddings, `[tokens, hidden]`.
    pub(crate) fn embed(&self, token_ids: &[u32]) -> Tensor<2> {
        embedding(
            self.model.embed_tokens.weight.val(),
            token_ids,
            self.config.padding_token(),
        )
    }

    /// The classifier `[vocab, hidden]`: the embedding table where the head is tied, so that gradients add up.
    pub fn classifier(&self) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.weight.val(),
            None => self.model.embed_tokens.weight.val(),
        }
    }

    /// The configuration it was made from.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Builds a model from values that `provide` gives for each Hugging Face name and shape, row-major. The layers' linear
    /// weights are kept in `linear_weights`, everything else in f32.
    pub(crate) fn assemble<E>(
        config: &LlamaConfig,
        device: &Device,
        linear_weights: WeightType,
        mut provide: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let mut matrix = |name: &str, shape: [usize; 2]| {
            let values = provide(name, &shape)?;
            Ok(Param::from_tensor(Tensor::from_data(
                TensorData::new(values, shape),
                device,
            )))
        };
        let hidden = config.hidden_size;
        let embed_tokens = Embedding {
            weight: matrix("model.embed_tokens.weight", [config.vocab_size, hidden])?,
        };
        let lm_head = match config.tie_word_embeddings {
            true => None,
            false => Some(Linear::new(matrix(
                "lm_head.weight",
                [config.vocab_size, hidden],
            )?)),
        };
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for number in 0..config.num_hidden_layers {
            layers.push(DecoderLayer::assemble(
                config,
                number,
                device,
                linear_weights,
                &mut provide,
            )?);
        }
        let norm = RmsNorm::assemble("model.norm.weight", hidden, device, &mut provide)?;
        let model = Decoder {
            embed_tokens,
            layers,
            norm,
        };
        Ok(Self {
            model,
            lm_head,
            config: config.clone(),
        })
    }
}

impl DecoderLayer {
    fn assemble<E>(
        config: &LlamaConfig,
        number: usize,
        device: &Device,
        linear_weights: WeightType,
        provide: &mut impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let hidden = config.hidden_size;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let prefix = format!("model.layers.{number}");
        let mut linear = |name: &str, outputs: usize, inputs: usize| {
            let values = provide(&format!("{prefix}.{name}.weight"), &[outputs, inputs])?;
            let weight = Tensor::<2>::from_data(TensorData::new(values, [outputs, inputs]), device);
            let weight = weight.cast(linear_weights.dtype());
            Ok(Linear::new(Param::from_tensor(weight)))
        };
        let self_attn = SelfAttention {
            q_proj: linear("self_attn.q_proj", queries, hidden)?,
            k_proj: linear("self_attn.k_proj", keys, hidden)?,
            v_proj: linear("self_attn.v_proj", keys, hidden)?,
            o_proj: linear("self_attn.o_proj", hidden, queries)?,
        };
        let mlp = Mlp {
            gate_proj: linear("mlp.gate_proj", config.intermediate_size, hidden)?,
            up_proj: linear("mlp.up_proj", config.intermediate_size, hidden)?,
            down_proj: linear("mlp.down_proj", hidden, config.intermediate_size)?,
        };
        let mut norm = |name: &str| {
            RmsNorm::assemble(&format!("{prefix}.{name}.weight"), hidden, device, provide)
        };
        Ok(Self {
            input_layernorm: norm("input_layernorm")?,
            self_attn,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            mlp,
        })
    }

    /// Pre-norm residual blocks: `[tokens, hidden]` to `[tokens, hidden]`, or of the tokens `rows` only to `[rows, hidden]`.
    fn forward(
        &self,
        x: Tensor<2>,
        number: usize,
        rows: Option<&[u32]>,
        pass: &Pass<'_>,
    ) -> Tensor<2> {
        let projections = &self.self_attn;
        let place = |module| pass.place(number, module);
        let joined = linear(
            self.input_layernorm.before(x.clone(), pass.config),
            vec![
                projections.q_proj.factor(place(0)),
                projections.k_proj.factor(place(1)),
                projections.v_proj.factor(place(2)),
            ],
            None,
        );
        let attended = attention(
            joined,
            pass.config.attention_heads(),
            &pass.rotations,
            &pass.mask,
        );
        let dropout = rows
            .zip(pass.dropout.as_ref())
            .map(|(rows, dropout)| dropout.of(rows));
        let place = |module| DropoutPlace {
            dropout: dropout.as_ref().or(pass.dropout.as_ref()),
            layer: number,
            module,
        };
        let (x, attended) = match rows {
            None => (x, attended),
            Some(rows) => {
                let rows = indices(rows, &x.device());
                (x.select(0, rows.clone()), attended.select(0, rows))
            }
        };
        let x = linear(
            LinearInput::Plain(attended),
            vec![projections.o_proj.factor(place(3))],
            Some(x),
        );
        let joined = linear(
            self.post_attention_layernorm.before(x.clone(), pass.config),
            vec![
                self.mlp.gate_proj.factor(place(4)),
                self.mlp.up_proj.factor(place(5)),
            ],
            None,
        );
        linear(
            LinearInput::Gated(joined),
            vec![self.mlp.down_proj.factor(place(6))],
            Some(x),
        )
    }
}

impl RmsNorm {
    fn assemble<E>(
        name: &str,
        width: usize,
        device: &Device,
        provide: &mut impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let values = provide(name, &[width])?;
        let weight = Tensor::from_data(TensorData::new(values, [width]), device);
        Ok(Self {
            weight: Param::from_tensor(weight),
        })
    }

    /// The norm of a product's input.
    fn before(&self, x: Tensor<2>, config: &LlamaConfig) -> LinearInput {
        LinearInput::Normalised {
            x,
            weight: self.weight.val(),
            epsilon: config.rms_norm_eps,
        }
    }
}

impl Pass<'_> {
    fn place(&self, layer: usize, module: usize) -> DropoutPlace<'_> {
        DropoutPlace {
            dropout: self.dropout.as_ref(),
            layer,
            module,
        }
    }
}

fn indices(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|&value| value.into()).collect();
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), device)
}
