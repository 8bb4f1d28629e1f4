//! The `config.json` of a Llama: the keys that decide the computation, and the others kept as read.

use plw_kernels::AttentionHeads;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config_error::ConfigError;
use crate::rope_scaling::{RopeKeys, RopeScaling};

/// Hugging Face's `config.json` of a Llama, checked. Every key of the file, known or unknown, is
/// kept and written back.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct LlamaConfig {
    /// Tokens in the vocabulary.
    pub(crate) vocab_size: usize,
    /// Width of the residual stream.
    pub(crate) hidden_size: usize,
    /// Width of the feed-forward block.
    pub(crate) intermediate_size: usize,
    /// Decoder layers.
    pub(crate) num_hidden_layers: usize,
    /// Heads of the queries.
    pub(crate) num_attention_heads: usize,
    /// Heads of keys and values. The number of query heads is a multiple of it.
    pub(crate) num_key_value_heads: usize,
    /// Width of a head.
    pub(crate) head_dim: usize,
    /// RMSNorm's epsilon.
    pub(crate) rms_norm_eps: f64,
    /// RoPE's base.
    pub(crate) rope_theta: f64,
    /// RoPE's scaling.
    pub(crate) rope_scaling: RopeScaling,
    /// Whether `lm_head` is the embedding table.
    pub(crate) tie_word_embeddings: bool,
    /// Longest sequence, in tokens, that the model was made for.
    pub(crate) max_position_embeddings: usize,
    /// The file as it was read.
    source: Map<String, Value>,
}

impl LlamaConfig {
    /// Parses and checks the text of a `config.json`.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        serde_json::from_str::<Map<String, Value>>(text)?.try_into()
    }

    /// Tokens in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Width of the residual stream.
    pub fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    /// Decoder layers.
    pub fn num_hidden_layers(&self) -> usize {
        self.num_hidden_layers
    }

    /// Longest sequence, in tokens, that the model was made for.
    pub fn max_position_embeddings(&self) -> usize {
        self.max_position_embeddings
    }

    /// Whether `lm_head` is the embedding table.
    pub fn tie_word_embeddings(&self) -> bool {
        self.tie_word_embeddings
    }

    /// The token whose embedding gets no gradient from a lookup, as in transformers'
    /// `nn.Embedding(padding_idx)`: `pad_token_id`. It may be a token that texts use: in SmolLM2 it
    /// ends every turn.
    pub(crate) fn padding_token(&self) -> Option<u32> {
        let id = self.source.get("pad_token_id")?.as_u64()?;
        u32::try_from(id).ok()
    }

    /// The keys of `config.json`, with the type of the stored weights set as transformers names it.
    pub(crate) fn with_weight_type(&self, name: &str) -> Map<String, Value> {
        let mut keys = self.source.clone();
        // transformers 5 writes `dtype`, earlier ones `torch_dtype`.
        let key = if keys.contains_key("dtype") {
            "dtype"
        } else {
            "torch_dtype"
        };
        keys.insert(key.into(), name.into());
        keys
    }

    /// The heads of an attention layer.
    pub(crate) fn attention_heads(&self) -> AttentionHeads {
        AttentionHeads {
            query: self.num_attention_heads,
            key_value: self.num_key_value_heads,
            head_dim: self.head_dim,
        }
    }

    /// RoPE's frequencies in radians per position, `[head_dim / 2]`.
    pub(crate) fn frequencies(&self) -> Vec<f32> {
        self.rope_scaling
            .frequencies(self.rope_theta, self.head_dim)
    }
}

/// The keys that decide the computation, with the defaults of transformers.
#[derive(Deserialize)]
struct Keys {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    #[serde(default = "silu")]
    hidden_act: String,
    #[serde(default = "default_epsilon")]
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeKeys>,
    /// transformers 5 writes base and scaling here.
    rope_parameters: Option<RopeKeys>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default = "default_positions")]
    max_position_embeddings: usize,
    quantization_config: Option<Value>,
}

fn silu() -> String {
    "silu".into()
}

fn default_epsilon() -> f64 {
    1e-6
}

fn default_positions() -> usize {
    2048
}

impl TryFrom<Map<String, Value>> for LlamaConfig {
    type Error = ConfigError;

    fn try_from(source: Map<String, Value>) -> Result<Self, ConfigError> {
        // The type is checked first: another architecture may lack the other keys.
        match source.get("model_type") {
            Some(Value::String(found)) if found != "llama" => {
                return Err(ConfigError::unsupported("model_type", found, "\"llama\""));
            }
            _ => {}
        }
        let keys: Keys = serde_json::from_value(Value::Object(source.clone()))?;
        if keys.hidden_act != "silu" {
            return Err(ConfigError::unsupported(
                "hidden_act",
                &keys.hidden_act,
                "\"silu\"",
            ));
        }
        if keys.attention_bias {
            return Err(ConfigError::unsupported("attention_bias", &true, "false"));
        }
        if keys.mlp_bias {
            return Err(ConfigError::unsupported("mlp_bias", &true, "false"));
        }
        if keys.quantization_config.is_some() {
            return Err(ConfigError::unsupported(
                "quantization_config",
                &"set",
                "an unquantized model",
            ));
        }
        debug_assert_eq!(keys.model_type, "llama");
        let heads = keys.num_attention_heads;
        let config = Self {
            vocab_size: keys.vocab_size,
            hidden_size: keys.hidden_size,
            intermediate_size: keys.intermediate_size,
            num_hidden_layers: keys.num_hidden_layers,
            num_attention_heads: heads,
            num_key_value_heads: keys.num_key_value_heads.unwrap_or(heads),
            head_dim: keys
                .head_dim
                .unwrap_or(keys.hidden_size.checked_div(heads).unwrap_or(0)),
            rms_norm_eps: keys.rms_norm_eps,
            rope_theta: keys
                .rope_theta
                .or(keys
                    .rope_parameters
                    .as_ref()
                    .and_then(|rope| rope.rope_theta))
                .unwrap_or(10_000.0),
            rope_scaling: match keys.rope_parameters.as_ref().or(keys.rope_scaling.as_ref()) {
                Some(rope) => rope.scaling()?,
                None => RopeScaling::None,
            },
            tie_word_embeddings: keys.tie_word_embeddings,
            max_position_embeddings: keys.max_position_embeddings,
            source,
        };
        config.check_sizes(keys.head_dim.is_some())?;
        Ok(config)
    }
}

/// Larger than any size of a Llama, and small enough for counts of parameters to fit in 64 bits.
const LARGEST: usize = 1 << 20;

impl LlamaConfig {
    fn check_sizes(&self, head_dim_given: bool) -> Result<(), ConfigError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(ConfigError::Sizes(format!("`{key}` must be at least 1")));
        }
        if let Some((key, size)) = sizes.iter().find(|(_, size)| *size > LARGEST) {
            return Err(ConfigError::Sizes(format!(
                "`{key}` must be at most {LARGEST}, not {size}"
            )));
        }
        for (key, value) in [
            ("rms_norm_eps", self.rms_norm_eps),
            ("rope_theta", self.rope_theta),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return Err(ConfigError::Sizes(format!(
                    "`{key}` must be a positive number, not {value}"
                )));
            }
        }
        let (heads, key_value_heads) = (self.num_attention_heads, self.num_key_value_heads);
        if !heads.is_multiple_of(key_value_heads) {
            return Err(ConfigError::Sizes(format!(
                "`num_attention_heads` ({heads}) must be a multiple of \
                 `num_key_value_heads` ({key_value_heads})"
            )));
        }
        if !head_dim_given && !self.hidden_size.is_multiple_of(heads) {
            return Err(ConfigError::Sizes(format!(
                "`hidden_size` ({}) must be a multiple of `num_attention_heads` ({heads}); \
                 otherwise set `head_dim`",
                self.hidden_size
            )));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(ConfigError::Sizes(format!(
                "`head_dim` ({}) must be even, because RoPE rotates pairs",
                self.head_dim
            )));
        }
        Ok(())
    }
}

impl From<LlamaConfig> for Map<String, Value> {
    fn from(config: LlamaConfig) -> Self {
        config.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(changes: &str) -> Result<LlamaConfig, ConfigError> {
        LlamaConfig::from_json(&format!(
            r#"{{"model_type": "llama", "vocab_size": 32, "hidden_size": 16,
                "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2
                {changes}}}"#
        ))
    }

    #[test]
    fn rope_is_read_as_old_and_new_transformers_write_it() {
        let llama3 = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192.0,
        };
        let keys = r#""factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192"#;
        let table = [
            (String::new(), 10_000.0, RopeScaling::None),
            (
                r#", "rope_theta": 5e5, "rope_scaling": null"#.into(),
                5e5,
                RopeScaling::None,
            ),
            (
                r#", "rope_scaling": {"type": "linear", "factor": 2}"#.into(),
                10_000.0,
                RopeScaling::Linear { factor: 2.0 },
            ),
            (
                format!(
                    r#", "rope_theta": 5e5, "rope_scaling": {{"rope_type": "llama3", {keys}}}"#
                ),
                5e5,
                llama3,
            ),
            (
                format!(
                    r#", "rope_parameters": {{"rope_type": "llama3", "rope_theta": 5e5, {keys}}}"#
                ),
                5e5,
                llama3,
            ),
            (
                r#", "rope_parameters": {"rope_type": "default", "rope_theta": 1e5}"#.into(),
                1e5,
                RopeScaling::None,
            ),
        ];
        for (changes, theta, scaling) in table {
            let config = config(&changes).expect("valid");
            assert_eq!(
                (config.rope_theta, config.rope_scaling),
                (theta, scaling),
                "{changes}"
            );
        }
    }

    #[test]
    fn what_is_not_implemented_is_refused() {
        let table = [
            (r#", "mlp_bias": true"#, "mlp_bias"),
            (
                r#", "quantization_config": {"bits": 4}"#,
                "quantization_config",
            ),
            (
                r#", "rope_scaling": {"rope_type": "dynamic", "factor": 2}"#,
                "rope_type",
            ),
            (r#", "rope_scaling": {"rope_type": "linear"}"#, "factor"),
            (
                r#", "rope_parameters": {"partial_rotary_factor": 0.5}"#,
                "partial_rotary_factor",
            ),
            (r#", "head_dim": 5"#, "head_dim"),
            (r#", "num_key_value_heads": 0"#, "num_key_value_heads"),
            (r#", "num_attention_heads": 3"#, "num_attention_heads"),
            (r#", "vocab_size": "many""#, "string"),
            (r#", "hidden_size": 999999999999"#, "hidden_size"),
            (r#", "rms_norm_eps": -1"#, "rms_norm_eps"),
            (r#", "rope_theta": 0"#, "rope_theta"),
        ];
        for (changes, named) in table {
            let error = config(changes).expect_err(changes).to_string();
            assert!(error.contains(named), "{changes}: {error}");
        }
        let error = LlamaConfig::from_json(r#"{"model_type": "gpt2"}"#).expect_err("no Llama");
        assert_eq!(
            error.to_string(),
            "`model_type` is \"gpt2\", but only \"llama\" is supported"
        );
    }

    #[test]
    fn unknown_keys_are_written_back() {
        let config = config(r#", "pretraining_tp": 1, "torch_dtype": "float16""#).expect("valid");
        let keys = config.with_weight_type("float32");
        assert_eq!(keys["pretraining_tp"], 1);
        assert_eq!(keys["torch_dtype"], "float32");
        assert!(!keys.contains_key("dtype"));
    }
}
