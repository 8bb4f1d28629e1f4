//! The model, top to bottom: embeddings, decoder layers, final norm.

use burn::module::{Module, Param};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use plw_batch::Batch;
use plw_kernels::{AttentionMask, Rotations, attention, rms_norm, rotate, swiglu};

use crate::config::LlamaConfig;
use crate::dropout::{Dropout, DropoutKey};
use crate::linear::{DropoutPlace, Linear};

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
struct Pass<'a> {
    config: &'a LlamaConfig,
    shape: [usize; 2],
    rotations: Rotations,
    mask: AttentionMask,
    dropout: Option<Dropout>,
}

impl Llama {
    /// Hidden states after the final norm, of the flat positions `rows` of `[batch * seq]` only: `[rows, hidden]`.
    ///
    /// `dropout` is the key of the step's masks; without it (evaluation) nothing is dropped. Panics if a token is
    /// outside the vocabulary or a row outside the batch.
    pub fn forward(&self, batch: &Batch, rows: &[u32], dropout: Option<&DropoutKey>) -> Tensor<2> {
        let device = self.model.embed_tokens.weight.device();
        let frequencies = self.config.frequencies();
        let pass = Pass {
            config: &self.config,
            shape: batch.shape,
            rotations: Rotations::new(batch.shape, &batch.position_ids, &frequencies, &device),
            mask: AttentionMask::new(batch.shape, &batch.visible_until, &device),
            dropout: dropout.map(|key| Dropout::new(key, batch)),
        };
        let mut hidden = self.embed(&batch.token_ids, &device);
        for (number, layer) in self.model.layers.iter().enumerate() {
            hidden = layer.forward(hidden, number, &pass);
        }
        let hidden = hidden.select(0, indices(rows, &device));
        self.model.norm.forward(hidden, &self.config)
    }

    /// The tokens' embeddings, `[tokens, hidden]`.
    fn embed(&self, token_ids: &[u32], device: &Device) -> Tensor<2> {
        let embedded = self
            .model
            .embed_tokens
            .weight
            .val()
            .select(0, indices(token_ids, device));
        let padding = self.config.padding_token();
        if !embedded.is_tracked() || !token_ids.iter().any(|&token| Some(token) == padding) {
            return embedded;
        }
        let is_padding: Vec<bool> = token_ids
            .iter()
            .map(|&token| Some(token) == padding)
            .collect();
        let [tokens, hidden] = embedded.dims();
        let is_padding = Tensor::<2, Bool>::from_data(
            TensorData::new(is_padding, [tokens, 1]),
            &embedded.device(),
        );
        let constant = embedded.clone().detach();
        embedded.mask_where(is_padding.expand([tokens, hidden]), constant)
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

    /// Builds a model from values that `provide` gives for each Hugging Face name and shape, row-major.
    pub(crate) fn assemble<E>(
        config: &LlamaConfig,
        device: &Device,
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
        provide: &mut impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let hidden = config.hidden_size;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let prefix = format!("model.layers.{number}");
        let mut linear = |name: &str, outputs: usize, inputs: usize| {
            let values = provide(&format!("{prefix}.{name}.weight"), &[outputs, inputs])?;
            let weight = Tensor::from_data(TensorData::new(values, [outputs, inputs]), device);
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

    /// Pre-norm residual blocks; `[tokens, hidden]` in and out.
    fn forward(&self, x: Tensor<2>, number: usize, pass: &Pass<'_>) -> Tensor<2> {
        let attended = self.self_attn.forward(
            self.input_layernorm.forward(x.clone(), pass.config),
            number,
            pass,
        );
        let x = x + attended;
        let fed = self.mlp.forward(
            self.post_attention_layernorm
                .forward(x.clone(), pass.config),
            number,
            pass,
        );
        x + fed
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

    fn forward(&self, x: Tensor<2>, config: &LlamaConfig) -> Tensor<2> {
        rms_norm(x, self.weight.val(), config.rms_norm_eps)
    }
}

impl SelfAttention {
    /// `[tokens, hidden]` in and out.
    fn forward(&self, x: Tensor<2>, layer: usize, pass: &Pass<'_>) -> Tensor<2> {
        let [batch, seq] = pass.shape;
        let head_dim = pass.config.head_dim;
        let heads = |x: Tensor<2>, heads: usize| x.reshape([batch, seq, heads, head_dim]);
        let queries = pass.config.num_attention_heads;
        let shared = pass.config.num_key_value_heads;
        let query = heads(
            self.q_proj.forward(x.clone(), pass.place(layer, 0)),
            queries,
        );
        let key = heads(self.k_proj.forward(x.clone(), pass.place(layer, 1)), shared);
        let value = heads(self.v_proj.forward(x, pass.place(layer, 2)), shared);
        let query = rotate(query, &pass.rotations);
        let key = rotate(key, &pass.rotations);
        let attended = attention(query, key, value, &pass.mask);
        self.o_proj.forward(
            attended.reshape([batch * seq, queries * head_dim]),
            pass.place(layer, 3),
        )
    }
}

impl Mlp {
    /// `[tokens, hidden]` in and out.
    fn forward(&self, x: Tensor<2>, layer: usize, pass: &Pass<'_>) -> Tensor<2> {
        let gate = self.gate_proj.forward(x.clone(), pass.place(layer, 4));
        let up = self.up_proj.forward(x, pass.place(layer, 5));
        self.down_proj
            .forward(swiglu(gate, up), pass.place(layer, 6))
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
