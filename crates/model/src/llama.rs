//! The model, top to bottom: embeddings, decoder layers, final norm.

use burn::module::{Module, Param};
use burn::tensor::{Device, FloatDType, Tensor};
use plw_batch::Batch;
use plw_kernels::{
    AttentionMask, LinearInput, LinearOperands, RotaryEmbedding, attention, embedding, linear,
    rms_norm, select_rows,
};

use crate::config::LlamaConfig;
use crate::dropout::{Dropout, DropoutKey};
use crate::linear::{DropoutSite, Linear};
use crate::weight::{HeldWeights, LinearWeightType, Weight, held};
use crate::weight_type::WeightType;

/// A Llama (Touvron et al. 2023, arXiv 2302.13971, with grouped-query attention as in Llama 2 and
/// 3). Its weights are in f32, but for frozen ones that may be in half precision or NF4
/// ([`HeldWeights`]); its activations are in f32 or in bf16 ([`Llama::with_activations`]).
///
/// Parameters are named as in Hugging Face checkpoints. A model on an autodiff device
/// (`Device::flex().autodiff()`) can be trained; [`Module::valid`] returns the same weights
/// without a graph.
#[derive(Module, Debug)]
pub struct Llama {
    pub(crate) model: Decoder,
    /// None where the embedding table is the head.
    pub(crate) lm_head: Option<Head>,
    #[module(skip)]
    config: LlamaConfig,
    /// The type of hidden states.
    #[module(skip)]
    activations: FloatDType,
    /// Where it was loaded from, which adapters name. None for a random model.
    #[module(skip)]
    pub(crate) name_or_path: Option<String>,
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
pub(crate) struct Head {
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
pub(crate) struct ForwardContext<'a> {
    config: &'a LlamaConfig,
    rotary: RotaryEmbedding,
    mask: AttentionMask,
    dropout: Option<Dropout>,
    /// The rows of the last layer's output that are asked for.
    rows: &'a [u32],
}

impl Llama {
    /// The hidden states `[rows, hidden]` after the final norm, at `rows` only: flat positions of
    /// `[batch * seq]`.
    ///
    /// `dropout` is the key of the step's masks; without it, as in evaluation, nothing is dropped.
    ///
    /// # Panics
    ///
    /// Where a token is outside the vocabulary, or a row outside the batch.
    pub fn forward(&self, batch: &Batch, rows: &[u32], dropout: Option<&DropoutKey>) -> Tensor<2> {
        let context = self.context(batch, rows, dropout);
        let mut hidden = self.embed(&batch.token_ids);
        for number in 0..self.model.layers.len() {
            hidden = self.layer(number, hidden, &context);
        }
        self.normalize(hidden)
    }

    /// What the layers of a forward pass share.
    pub(crate) fn context<'a>(
        &'a self,
        batch: &Batch,
        rows: &'a [u32],
        dropout: Option<&DropoutKey>,
    ) -> ForwardContext<'a> {
        let device = self.model.embed_tokens.weight.device();
        let frequencies = self.config.frequencies();
        ForwardContext {
            config: &self.config,
            rotary: RotaryEmbedding::new(batch.shape, &batch.position_ids, &frequencies, &device),
            mask: AttentionMask::new(batch.shape, &batch.visible_until, &device),
            dropout: dropout.map(|key| Dropout::new(key, batch, &device)),
            rows,
        }
    }

    /// A layer's output: `[tokens, hidden]`, or `[rows, hidden]` of the last layer.
    pub(crate) fn layer(
        &self,
        number: usize,
        hidden: Tensor<2>,
        context: &ForwardContext<'_>,
    ) -> Tensor<2> {
        linear(self.last_linear(number, hidden, context))
    }

    /// The operands of a layer's last product, whose output is the layer's.
    pub(crate) fn last_linear(
        &self,
        number: usize,
        hidden: Tensor<2>,
        context: &ForwardContext<'_>,
    ) -> LinearOperands {
        // No token attends to the output of the last layer's MLP, so only the rows that are asked
        // for go through it.
        let is_last = number + 1 == self.model.layers.len();
        let rows = is_last.then_some(context.rows);
        self.model.layers[number].last_linear(hidden, number, rows, context)
    }

    /// The norm after the last layer.
    pub(crate) fn normalize(&self, hidden: Tensor<2>) -> Tensor<2> {
        rms_norm(
            hidden,
            self.model.norm.weight.val(),
            self.config.rms_norm_eps,
        )
    }

    /// The same model with activations of this type: f32, or a half precision. With the latter, the
    /// operands of products are rounded to it and everything else is computed in f32: sums of
    /// products, norms, softmax, losses, and the gradients of trained weights.
    pub fn with_activations(mut self, activations: FloatDType) -> Self {
        self.activations = activations;
        self
    }

    /// The type of its activations.
    pub fn activations(&self) -> FloatDType {
        self.activations
    }

    /// The tokens' embeddings, `[tokens, hidden]`.
    pub(crate) fn embed(&self, token_ids: &[u32]) -> Tensor<2> {
        let embedded = embedding(
            self.model.embed_tokens.weight.val(),
            token_ids,
            self.config.padding_token(),
        );
        match self.activations {
            FloatDType::F32 => embedded,
            half => embedded.cast(half),
        }
    }

    /// The language-model head `[vocab, hidden]`. It is the embedding table itself where the two
    /// are tied, so that their gradients add up.
    pub fn lm_head(&self) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.weight.val(),
            None => self.model.embed_tokens.weight.val(),
        }
    }

    /// The configuration it was made from.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Builds a model from the row-major values that `provide` returns for each Hugging Face name
    /// and shape.
    pub(crate) fn assemble<E>(
        config: &LlamaConfig,
        device: &Device,
        held_as: HeldWeights,
        mut provide: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let mut matrix = |name: &str, shape: [usize; 2]| {
            let values = provide(name, &shape)?;
            Ok(Param::from_tensor(held(
                values,
                shape,
                held_as.tables,
                device,
            )))
        };
        let hidden = config.hidden_size;
        let embed_tokens = Embedding {
            weight: matrix("model.embed_tokens.weight", [config.vocab_size, hidden])?,
        };
        let lm_head = match config.tie_word_embeddings {
            true => None,
            false => Some(Head {
                weight: matrix("lm_head.weight", [config.vocab_size, hidden])?,
            }),
        };
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for number in 0..config.num_hidden_layers {
            layers.push(DecoderLayer::assemble(
                config,
                number,
                device,
                held_as.linear,
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
            activations: FloatDType::F32,
            name_or_path: None,
        })
    }
}

impl DecoderLayer {
    fn assemble<E>(
        config: &LlamaConfig,
        number: usize,
        device: &Device,
        linear_weights: LinearWeightType,
        provide: &mut impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let hidden = config.hidden_size;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let prefix = format!("model.layers.{number}");
        let mut linear = |name: &str, outputs: usize, inputs: usize| {
            let values = provide(&format!("{prefix}.{name}.weight"), &[outputs, inputs])?;
            let shape = [outputs, inputs];
            Ok(Linear::new(Weight::new(
                values,
                shape,
                linear_weights,
                device,
            )))
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

    /// The pre-norm residual blocks: `[tokens, hidden]` to `[tokens, hidden]`, or to `[rows,
    /// hidden]` where only some rows are asked for. All is computed but the last product, which
    /// activation checkpointing does not need.
    fn last_linear(
        &self,
        x: Tensor<2>,
        number: usize,
        rows: Option<&[u32]>,
        context: &ForwardContext<'_>,
    ) -> LinearOperands {
        let SelfAttention {
            q_proj,
            k_proj,
            v_proj,
            o_proj,
        } = &self.self_attn;
        let site = |module| DropoutSite {
            dropout: context.dropout.as_ref(),
            layer: number,
            module,
        };
        let qkv = linear(LinearOperands {
            input: self.input_layernorm.normalized(x.clone(), context.config),
            weights: vec![
                q_proj.linear_weight(site(0)),
                k_proj.linear_weight(site(1)),
                v_proj.linear_weight(site(2)),
            ],
            residual: None,
        });
        let heads = context.config.attention_heads();
        let attended = attention(qkv, heads, &context.rotary, &context.mask);
        let (x, attended) = match rows {
            None => (x, attended),
            Some(rows) => (select_rows(x, rows), select_rows(attended, rows)),
        };
        let selected = rows
            .zip(context.dropout.as_ref())
            .map(|(rows, dropout)| dropout.select(rows));
        let site = |module| DropoutSite {
            dropout: selected.as_ref().or(context.dropout.as_ref()),
            layer: number,
            module,
        };
        let x = linear(LinearOperands {
            input: LinearInput::Plain(attended),
            weights: vec![o_proj.linear_weight(site(3))],
            residual: Some(x),
        });
        let norm = &self.post_attention_layernorm;
        let gate_up = linear(LinearOperands {
            input: norm.normalized(x.clone(), context.config),
            weights: vec![
                self.mlp.gate_proj.linear_weight(site(4)),
                self.mlp.up_proj.linear_weight(site(5)),
            ],
            residual: None,
        });
        LinearOperands {
            input: LinearInput::Gated(gate_up),
            weights: vec![self.mlp.down_proj.linear_weight(site(6))],
            residual: Some(x),
        }
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
        let weight = held(values, [width], WeightType::F32, device);
        Ok(Self {
            weight: Param::from_tensor(weight),
        })
    }

    /// The normalized input of a linear layer.
    fn normalized(&self, x: Tensor<2>, config: &LlamaConfig) -> LinearInput {
        LinearInput::Normalized {
            x,
            weight: self.weight.val(),
            epsilon: config.rms_norm_eps,
        }
    }
}
