//! Which sizes of a `config.json` go together, and which are too large for any machine or for this
//! one.

use crate::config::LlamaConfig;
use crate::config_error::ConfigError;
use crate::memory::is_available;
use crate::weight::LinearWeightType;

/// Larger than any size of a Llama, and small enough for counts of parameters to fit in 64 bits.
const LARGEST: usize = 1 << 20;

/// More parameters than any Llama has.
const MOST_PARAMETERS: u64 = 1 << 42;

impl LlamaConfig {
    pub(crate) fn check_sizes(&self, head_dim_given: bool) -> Result<(), ConfigError> {
        self.check_ranges()?;
        self.check_shapes(head_dim_given)?;
        let parameters = self.parameter_count();
        if parameters > MOST_PARAMETERS {
            let (key, size) = self.greatest_size();
            return Err(ConfigError::Sizes(format!(
                "the sizes make a model of {parameters} parameters, more than any Llama has; \
                 the greatest is `{key}` ({size})"
            )));
        }
        Ok(())
    }

    /// The size that is greatest, and its key.
    fn greatest_size(&self) -> (&'static str, usize) {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("head_dim", self.head_dim),
            ("num_attention_heads", self.num_attention_heads),
        ];
        sizes
            .into_iter()
            .max_by_key(|(_, size)| *size)
            .unwrap_or(("vocab_size", self.vocab_size))
    }

    /// Checks that the machine can give memory for the weights, with linear weights of the type
    /// `linear_weights` and all others in f32, as they are at most.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Memory`] if it cannot.
    pub fn check_memory(&self, linear_weights: LinearWeightType) -> Result<(), ConfigError> {
        let bytes = self.weight_bytes(linear_weights);
        if is_available(bytes) {
            return Ok(());
        }
        let (key, size) = self.greatest_size();
        Err(ConfigError::Memory {
            parameters: self.parameter_count(),
            bytes,
            key,
            size,
        })
    }

    fn check_ranges(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
        ];
        let positions = ("max_position_embeddings", self.max_position_embeddings);
        let mut all = sizes.iter().chain([&positions]);
        if let Some((key, _)) = all.find(|(_, size)| *size == 0) {
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
            // Computed with in f32.
            if !((value as f32).is_finite() && value as f32 > 0.0) {
                return Err(ConfigError::Sizes(format!(
                    "`{key}` must be a positive number that f32 holds, not {value:?}"
                )));
            }
        }
        Ok(())
    }

    fn check_shapes(&self, head_dim_given: bool) -> Result<(), ConfigError> {
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
        if heads * self.head_dim > LARGEST {
            return Err(ConfigError::Sizes(format!(
                "`num_attention_heads` ({heads}) times `head_dim` ({}) must be at most {LARGEST}",
                self.head_dim
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(
        vocab: usize,
        hidden: usize,
        wide: usize,
        layers: usize,
    ) -> Result<LlamaConfig, String> {
        LlamaConfig::from_json(&format!(
            r#"{{"model_type": "llama", "vocab_size": {vocab}, "hidden_size": {hidden},
                "intermediate_size": {wide}, "num_hidden_layers": {layers},
                "num_attention_heads": 2}}"#
        ))
        .map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_beyond_any_model_or_machine_are_refused_by_name() {
        let error = config(32, 1 << 20, 1 << 19, 1 << 19).expect_err("refused");
        assert!(error.contains("`hidden_size` (1048576)"), "{error}");
        let small = config(32, 16, 24, 2).expect("valid");
        assert!(small.check_memory(LinearWeightType::F32).is_ok());
        // 2^41 parameters: 8 TiB in f32.
        let giant = config(1 << 20, 1 << 19, 2, 1).expect("within the bounds");
        // Where the system promises any memory, it promises this as well.
        let promises = std::fs::read_to_string("/proc/sys/vm/overcommit_memory");
        if promises.is_ok_and(|promises| promises.trim() != "1") {
            let error = giant
                .check_memory(LinearWeightType::F32)
                .expect_err("refused");
            let error = error.to_string();
            assert!(error.contains("`vocab_size` (1048576)"), "{error}");
        }
    }
}
