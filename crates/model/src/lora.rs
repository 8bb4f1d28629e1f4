//! Low-rank adapters: their settings, and how they are added to a model and merged into it.

use std::collections::BTreeSet;
use std::str::FromStr;

use burn::module::{Module, Param};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::initialization::{generator, uniform};
use crate::linear::{Linear, Lora};
use crate::llama::{DecoderLayer, Llama};
use crate::memory::is_available;
use crate::weight::held;
use crate::weight_type::WeightType;

/// Greatest rank. Adapters of a greater one would be larger than the weights of any Llama.
const MAX_RANK: usize = 1 << 16;

/// Why an adapter's settings cannot be used.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum LoraError {
    /// adapter_config.json is not a JSON object.
    #[error("{0}; is this the adapter_config.json of PEFT?")]
    Json(String),
    /// The rank is zero or too great.
    #[error("the rank (lora_r, PEFT's r) must be from 1 to {MAX_RANK}, not {0}")]
    Rank(usize),
    /// Alpha is not positive, or f32 does not hold what it scales by.
    #[error(
        "lora_alpha must be a positive number that f32 holds, not {0:?}: an adapter's output is \
         multiplied by lora_alpha / r, so that with 0 it never learns"
    )]
    Alpha(f64),
    /// The dropout probability is outside [0, 1).
    #[error("lora_dropout must be at least 0 and less than 1, not {0:?}")]
    Dropout(f64),
    /// No layer gets an adapter.
    #[error("lora_target_modules must name at least one layer, such as q_proj")]
    NoTarget,
    /// No linear layer has this name.
    #[error(
        "`{0}` is not a linear layer of a Llama. Use some of q_proj, k_proj, v_proj, o_proj, \
         gate_proj, up_proj, down_proj"
    )]
    UnknownTarget(String),
    /// The adapter's weights take more memory than there is.
    #[error(
        "an adapter of rank {r} takes {bytes} bytes on this model, more memory than this machine \
         gives; choose a smaller rank"
    )]
    Memory {
        /// Its rank.
        r: usize,
        /// Its weights in bytes.
        bytes: u64,
    },
    /// The model already has an adapter.
    #[error("the model already has a LoRA adapter: merge it first")]
    AlreadyThere,
    /// adapter_config.json has a setting that is not supported.
    #[error("`{key}` is {found}, but only {supported} is supported")]
    Unsupported {
        /// The key of adapter_config.json.
        key: String,
        /// Its value there.
        found: String,
        /// The values that are supported.
        supported: &'static str,
    },
}

/// One of the seven linear layers of a decoder layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetModule {
    /// Queries.
    QProj,
    /// Keys.
    KProj,
    /// Values.
    VProj,
    /// Attention's output.
    OProj,
    /// The feed-forward block's gate.
    GateProj,
    /// The feed-forward block's up projection.
    UpProj,
    /// The feed-forward block's output.
    DownProj,
}

impl TargetModule {
    /// All seven, in the order of a forward pass.
    pub const ALL: [Self; 7] = [
        Self::QProj,
        Self::KProj,
        Self::VProj,
        Self::OProj,
        Self::GateProj,
        Self::UpProj,
        Self::DownProj,
    ];

    /// Its name, as in PEFT's `target_modules`.
    pub fn name(self) -> &'static str {
        let path = self.path();
        path.rsplit('.').next().unwrap_or(path)
    }

    /// The path from a decoder layer.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::QProj => "self_attn.q_proj",
            Self::KProj => "self_attn.k_proj",
            Self::VProj => "self_attn.v_proj",
            Self::OProj => "self_attn.o_proj",
            Self::GateProj => "mlp.gate_proj",
            Self::UpProj => "mlp.up_proj",
            Self::DownProj => "mlp.down_proj",
        }
    }
}

impl FromStr for TargetModule {
    type Err = LoraError;

    fn from_str(name: &str) -> Result<Self, LoraError> {
        let named = Self::ALL.into_iter().find(|target| target.name() == name);
        named.ok_or_else(|| LoraError::UnknownTarget(name.into()))
    }
}

/// Settings of an adapter, named as in PEFT's `LoraConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Rank of the update.
    pub r: usize,
    /// The update is scaled by `alpha / r`.
    pub alpha: f64,
    /// Probability that an input of an adapter is dropped in training.
    pub dropout: f64,
    /// Which layers get an adapter.
    pub target_modules: BTreeSet<TargetModule>,
}

impl LoraConfig {
    /// Returns an error for invalid settings.
    pub fn check(&self) -> Result<(), LoraError> {
        if !(1..=MAX_RANK).contains(&self.r) {
            return Err(LoraError::Rank(self.r));
        }
        let scale = (self.alpha / self.r as f64) as f32;
        if !(scale > 0.0 && (self.alpha as f32).is_finite()) {
            return Err(LoraError::Alpha(self.alpha));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(LoraError::Dropout(self.dropout));
        }
        if self.target_modules.is_empty() {
            return Err(LoraError::NoTarget);
        }
        Ok(())
    }
}

impl Llama {
    /// Freezes the model and adds adapters to it as PEFT does: A is uniform in `±1 / sqrt(in)`
    /// (Kaiming with a = sqrt(5)), B is zero, so that outputs do not change before the first step.
    /// Only A and B are trained.
    pub fn with_lora(self, config: &LoraConfig, seed: u64) -> Result<Self, LoraError> {
        config.check()?;
        let built = self.attach_lora(config, |name, [rows, columns]| {
            Ok::<_, std::convert::Infallible>(if name.ends_with("lora_A.weight") {
                let bound = 1.0 / (columns as f64).sqrt();
                uniform(&mut generator(seed, name), rows * columns, bound)
            } else {
                vec![0.0; rows * columns]
            })
        })?;
        match built {
            Ok(model) => Ok(model),
            Err(never) => match never {},
        }
    }

    /// Adds `alpha / r * B A` to the weights and removes the adapter. Every parameter can be
    /// trained again. Adapted weights are then in f32, and so are all that were in NF4.
    pub fn merge_lora(self) -> Self {
        self.map_linear(Linear::merged)
            .dequantized()
            .set_require_grad(true)
    }

    /// Removes the adapter and leaves the weights as they are. Every parameter can be trained
    /// again.
    pub fn without_lora(self) -> Self {
        self.map_linear(|linear| Linear::new(linear.weight))
            .set_require_grad(true)
    }

    /// The same model with the weights that were in NF4 in f32.
    pub(crate) fn dequantized(self) -> Self {
        let device = self.model.embed_tokens.weight.device();
        self.map_linear(|linear| Linear {
            weight: linear.weight.dequantized(&device),
            lora: linear.lora,
        })
    }

    fn map_linear(mut self, mut change: impl FnMut(Linear) -> Linear) -> Self {
        for layer in &mut self.model.layers {
            for target in TargetModule::ALL {
                let linear = layer.linear_mut(target);
                *linear = change(linear.clone());
            }
        }
        self
    }

    /// The settings of the model's adapter, if it has one.
    pub fn lora(&self) -> Option<LoraConfig> {
        let layer = self.model.layers.first()?;
        let mut config: Option<LoraConfig> = None;
        for target in TargetModule::ALL {
            if let Some(lora) = &layer.linear(target).lora {
                let [r, _] = lora.a.dims();
                config
                    .get_or_insert_with(|| LoraConfig {
                        r,
                        alpha: lora.alpha,
                        dropout: lora.dropout,
                        target_modules: BTreeSet::new(),
                    })
                    .target_modules
                    .insert(target);
            }
        }
        config
    }

    /// Freezes the model and adds adapters with the values that `provide` returns for each name and
    /// shape. The outer error is about the settings, the inner one is that of `provide`.
    pub(crate) fn attach_lora<E>(
        self,
        config: &LoraConfig,
        mut provide: impl FnMut(&str, [usize; 2]) -> Result<Vec<f32>, E>,
    ) -> Result<Result<Self, E>, LoraError> {
        config.check()?;
        if self.lora().is_some() {
            return Err(LoraError::AlreadyThere);
        }
        let bytes = WeightType::F32.bytes() * self.config().adapter_parameter_count(config);
        if !is_available(bytes) {
            return Err(LoraError::Memory { r: config.r, bytes });
        }
        let mut model = self.set_require_grad(false);
        let device = model.model.embed_tokens.weight.device();
        for (number, layer) in model.model.layers.iter_mut().enumerate() {
            for &target in &config.target_modules {
                let name = format!("model.layers.{number}.{}", target.path());
                let linear = layer.linear_mut(target);
                match Lora::assemble(config, &name, linear, &device, &mut provide) {
                    Ok(lora) => linear.lora = Some(lora),
                    Err(error) => return Ok(Err(error)),
                }
            }
        }
        Ok(Ok(model))
    }
}

impl Lora {
    fn assemble<E>(
        config: &LoraConfig,
        name: &str,
        linear: &Linear,
        device: &Device,
        provide: &mut impl FnMut(&str, [usize; 2]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let [outputs, inputs] = linear.weight.dims();
        let mut factor = |factor: &str, shape: [usize; 2]| {
            let values = provide(&format!("{name}.{factor}.weight"), shape)?;
            Ok(Param::from_tensor(held(
                values,
                shape,
                WeightType::F32,
                device,
            )))
        };
        Ok(Self {
            a: factor("lora_A", [config.r, inputs])?,
            b: factor("lora_B", [outputs, config.r])?,
            alpha: config.alpha,
            dropout: config.dropout,
        })
    }
}

impl DecoderLayer {
    fn linear(&self, target: TargetModule) -> &Linear {
        match target {
            TargetModule::QProj => &self.self_attn.q_proj,
            TargetModule::KProj => &self.self_attn.k_proj,
            TargetModule::VProj => &self.self_attn.v_proj,
            TargetModule::OProj => &self.self_attn.o_proj,
            TargetModule::GateProj => &self.mlp.gate_proj,
            TargetModule::UpProj => &self.mlp.up_proj,
            TargetModule::DownProj => &self.mlp.down_proj,
        }
    }

    fn linear_mut(&mut self, target: TargetModule) -> &mut Linear {
        match target {
            TargetModule::QProj => &mut self.self_attn.q_proj,
            TargetModule::KProj => &mut self.self_attn.k_proj,
            TargetModule::VProj => &mut self.self_attn.v_proj,
            TargetModule::OProj => &mut self.self_attn.o_proj,
            TargetModule::GateProj => &mut self.mlp.gate_proj,
            TargetModule::UpProj => &mut self.mlp.up_proj,
            TargetModule::DownProj => &mut self.mlp.down_proj,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_out_of_range_is_refused() {
        let check = |r| {
            LoraConfig {
                r,
                alpha: 1.0,
                dropout: 0.0,
                target_modules: [TargetModule::QProj].into(),
            }
            .check()
        };
        assert_eq!(check(MAX_RANK), Ok(()));
        for r in [0, MAX_RANK + 1] {
            assert_eq!(check(r), Err(LoraError::Rank(r)));
        }
    }

    #[test]
    fn an_adapter_that_could_not_learn_is_refused() {
        let check = |alpha| {
            LoraConfig {
                r: 8,
                alpha,
                dropout: 0.0,
                target_modules: [TargetModule::QProj].into(),
            }
            .check()
        };
        for alpha in [1e-30, 16.0] {
            assert_eq!(check(alpha), Ok(()));
        }
        for alpha in [0.0, -1.0, 1e-60, 1e300, f64::INFINITY] {
            assert_eq!(check(alpha), Err(LoraError::Alpha(alpha)));
        }
        let said = check(1e300).expect_err("refused").to_string();
        assert!(said.contains("not 1e300:"), "{said}");
    }
}
