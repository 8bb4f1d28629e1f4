//! RoPE's frequencies, and how they are scaled for long contexts.

use serde::Deserialize;

use crate::config_error::ConfigError;

/// How RoPE's frequencies are scaled for contexts longer than those of pretraining.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Every frequency divided by the factor (Chen et al. 2023, arXiv 2306.15595).
    Linear {
        /// Divides the frequencies.
        factor: f64,
    },
    /// As in Llama 3.1: low frequencies are divided by the factor, high ones kept, and those
    /// between interpolated.
    Llama3 {
        /// Divides the low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` count as low.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` count as high.
        high_freq_factor: f64,
        /// Context length of pretraining.
        original_max_position_embeddings: f64,
    },
}

impl RopeScaling {
    /// RoPE's frequencies in radians per position, `[head_dim / 2]`, in f32 as in transformers.
    pub(crate) fn frequencies(self, theta: f64, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2)
            .map(|i| {
                let exponent = (2 * i) as f32 / head_dim as f32;
                self.apply(1.0 / theta.powf(exponent.into()) as f32)
            })
            .collect()
    }

    fn apply(self, frequency: f32) -> f32 {
        match self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor as f32,
            Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: original,
            } => {
                let wavelength = 2.0 * std::f64::consts::PI / f64::from(frequency);
                if wavelength > original / low_freq_factor {
                    frequency / factor as f32
                } else if wavelength < original / high_freq_factor {
                    frequency
                } else {
                    let kept = (original / wavelength - low_freq_factor)
                        / (high_freq_factor - low_freq_factor);
                    let frequency = f64::from(frequency);
                    ((1.0 - kept) * frequency / factor + kept * frequency) as f32
                }
            }
        }
    }
}

/// The keys of `rope_scaling` or `rope_parameters` in config.json.
#[derive(Deserialize)]
pub(crate) struct RopeKeys {
    rope_type: Option<String>,
    /// The older name of `rope_type`. transformers writes both where it has read this one.
    #[serde(rename = "type")]
    older_type: Option<String>,
    pub(crate) rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    partial_rotary_factor: Option<f64>,
}

impl RopeKeys {
    pub(crate) fn scaling(&self) -> Result<RopeScaling, ConfigError> {
        let need = |value: Option<f64>, key: &str| match value {
            // Some are computed with in f32.
            Some(value) if value as f32 > 0.0 && (value as f32).is_finite() => Ok(value),
            _ => Err(ConfigError::Sizes(format!(
                "RoPE scaling needs a positive `{key}`; \
                 take it from the model's original config.json"
            ))),
        };
        if self
            .partial_rotary_factor
            .is_some_and(|factor| factor != 1.0)
        {
            return Err(ConfigError::unsupported(
                "partial_rotary_factor",
                &self.partial_rotary_factor,
                "1",
            ));
        }
        let rope_type = self.rope_type.as_ref().or(self.older_type.as_ref());
        match rope_type.map(String::as_str) {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear {
                factor: need(self.factor, "factor")?,
            }),
            Some("llama3") => {
                let low_freq_factor = need(self.low_freq_factor, "low_freq_factor")?;
                let high_freq_factor = need(self.high_freq_factor, "high_freq_factor")?;
                if high_freq_factor <= low_freq_factor {
                    return Err(ConfigError::Sizes(format!(
                        "`high_freq_factor` ({high_freq_factor:?}) must be greater than \
                         `low_freq_factor` ({low_freq_factor:?})"
                    )));
                }
                let original = self.original_max_position_embeddings;
                Ok(RopeScaling::Llama3 {
                    factor: need(self.factor, "factor")?,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_position_embeddings: need(
                        original,
                        "original_max_position_embeddings",
                    )?,
                })
            }
            Some(_) => Err(ConfigError::unsupported(
                "rope_type",
                &rope_type,
                "default, linear or llama3",
            )),
        }
    }
}
