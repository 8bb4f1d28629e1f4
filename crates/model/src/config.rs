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
    /// The token whose embedding gets no gradient from a lookup.
    padding_token: Option<u32>,
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
        self.padding_token
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

/// The keys that decide the computation.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    model_type: Option<String>,
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    hidden_act: Option<String>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeKeys>,
    /// transformers 5 writes base and scaling here.
    rope_parameters: Option<RopeKeys>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    max_position_embeddings: Option<usize>,
    pad_token_id: Option<i64>,
    quantization_config: Option<Value>,
}

impl Keys {
    fn read(source: &Map<String, Value>) -> Result<Self, ConfigError> {
        let parse = |keys: Map<String, Value>| serde_json::from_value(Value::Object(keys));
        parse(source.clone()).map_err(|error| {
            // serde does not say which key it could not read.
            let mut alone = source.iter().map(|(key, value)| {
                let parsed: Result<Self, _> =
                    parse([(key.clone(), value.clone())].into_iter().collect());
                (key, parsed)
            });
            match alone.find_map(|(key, parsed)| Some((key.clone(), parsed.err()?))) {
                Some((key, source)) => ConfigError::Key { key, source },
                None => ConfigError::Malformed(error),
            }
        })
    }

    /// Refuses what is not implemented.
    fn check_supported(&self) -> Result<(), ConfigError> {
        if let Some(found) = self.hidden_act.as_ref().filter(|found| *found != "silu") {
            return Err(ConfigError::unsupported("hidden_act", found, "\"silu\""));
        }
        for (key, given) in [
            ("attention_bias", self.attention_bias),
            ("mlp_bias", self.mlp_bias),
        ] {
            if given == Some(true) {
                return Err(ConfigError::unsupported(key, &true, "false"));
            }
        }
        match self.quantization_config {
            None => Ok(()),
            Some(_) => Err(ConfigError::unsupported(
                "quantization_config",
                &"set",
                "an unquantized model",
            )),
        }
    }
}

impl TryFrom<Map<String, Value>> for LlamaConfig {
    type Error = ConfigError;

    /// With the defaults of transformers.
    fn try_from(source: Map<String, Value>) -> Result<Self, ConfigError> {
        // The type is checked first: another architecture may lack the other keys.
        match source.get("model_type") {
            Some(Value::String(found)) if found != "llama" => {
                return Err(ConfigError::unsupported("model_type", found, "\"llama\""));
            }
            _ => {}
        }
        let keys = Keys::read(&source)?;
        let need = |key, value: Option<usize>| value.ok_or(ConfigError::Missing { key });
        keys.model_type
            .as_ref()
            .ok_or(ConfigError::Missing { key: "model_type" })?;
        keys.check_supported()?;
        let vocab_size = need("vocab_size", keys.vocab_size)?;
        let hidden_size = need("hidden_size", keys.hidden_size)?;
        let heads = need("num_attention_heads", keys.num_attention_heads)?;
        let rope = keys.rope_parameters.as_ref().or(keys.rope_scaling.as_ref());
        let rope_theta = keys.rope_theta.or(keys
            .rope_parameters
            .as_ref()
            .and_then(|rope| rope.rope_theta));
        let config = Self {
            vocab_size,
            hidden_size,
            intermediate_size: need("intermediate_size", keys.intermediate_size)?,
            num_hidden_layers: need("num_hidden_layers", keys.num_hidden_layers)?,
            num_attention_heads: heads,
            num_key_value_heads: keys.num_key_value_heads.unwrap_or(heads),
            head_dim: keys
                .head_dim
                .unwrap_or(hidden_size.checked_div(heads).unwrap_or(0)),
            rms_norm_eps: keys.rms_norm_eps.unwrap_or(1e-6),
            rope_theta: rope_theta.unwrap_or(10_000.0),
            rope_scaling: match rope {
                Some(rope) => rope.scaling()?,
                None => RopeScaling::None,
            },
            tie_word_embeddings: keys.tie_word_embeddings.unwrap_or(false),
            max_position_embeddings: keys.max_position_embeddings.unwrap_or(2048),
            padding_token: padding_token(keys.pad_token_id, vocab_size)?,
            source,
        };
        config.check_sizes(keys.head_dim.is_some())?;
        Ok(config)
    }
}

/// `pad_token_id` as PyTorch's `padding_idx` understands it: a negative one, as in the first
/// conversions of LLaMA (-1), counts from the end of the vocabulary.
fn padding_token(id: Option<i64>, vocab_size: usize) -> Result<Option<u32>, ConfigError> {
    let Some(id) = id else { return Ok(None) };
    let tokens = i64::try_from(vocab_size).unwrap_or(i64::MAX);
    let from_start = match id < 0 {
        true => id.saturating_add(tokens),
        false => id,
    };
    match u32::try_from(from_start) {
        Ok(token) if from_start < tokens => Ok(Some(token)),
        _ => Err(ConfigError::Sizes(format!(
            "`pad_token_id` is {id}, but `vocab_size` is {vocab_size}: set it to a token of the \
             vocabulary, or to null if the model has none"
        ))),
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
            (r#", "vocab_size": "many""#, "`vocab_size`"),
            (r#", "vocab_size": null"#, "`vocab_size` is missing"),
            (r#", "hidden_size": 999999999999"#, "hidden_size"),
            (r#", "rms_norm_eps": -1"#, "rms_norm_eps"),
            (r#", "rms_norm_eps": 1e-46"#, "rms_norm_eps"),
            (r#", "rope_theta": 0"#, "rope_theta"),
            (
                r#", "max_position_embeddings": 0"#,
                "max_position_embeddings",
            ),
            (
                r#", "max_position_embeddings": "16""#,
                "`max_position_embeddings`",
            ),
            (r#", "pad_token_id": "x""#, "`pad_token_id`"),
            (r#", "pad_token_id": 32"#, "`pad_token_id` is 32"),
            (r#", "pad_token_id": -33"#, "`pad_token_id` is -33"),
            (
                r#", "num_attention_heads": 1048576, "head_dim": 2"#,
                "`head_dim` (2)",
            ),
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
    fn a_negative_padding_token_counts_from_the_end() {
        for (id, token) in [
            ("null", None),
            ("0", Some(0)),
            ("31", Some(31)),
            ("-1", Some(31)),
        ] {
            let config = config(&format!(r#", "pad_token_id": {id}"#)).expect("valid");
            assert_eq!(config.padding_token(), token, "{id}");
        }
        assert_eq!(config("").expect("valid").padding_token(), None);
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
