//! The settings of low-rank adapters.

use std::collections::BTreeSet;
use std::path::Path;

use miette::{IntoDiagnostic, Result, miette};
use plw_model::{LoraConfig, TargetModule};
use plw_record::RunConfig;
use serde::{Deserialize, Serialize};

/// Low-rank adapters. Off without a rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LoraSettings {
    pub(crate) lora_r: Option<usize>,
    pub(crate) lora_alpha: f64,
    pub(crate) lora_dropout: f64,
    pub(crate) lora_target_modules: BTreeSet<TargetModule>,
}

impl Default for LoraSettings {
    fn default() -> Self {
        Self {
            lora_r: None,
            lora_alpha: 16.0,
            lora_dropout: 0.0,
            lora_target_modules: TargetModule::ALL.into(),
        }
    }
}

impl LoraSettings {
    /// The adapter to add. None without a rank.
    pub(crate) fn config(&self) -> Option<LoraConfig> {
        self.lora_r.map(|r| LoraConfig {
            r,
            alpha: self.lora_alpha,
            dropout: self.lora_dropout,
            target_modules: self.lora_target_modules.clone(),
        })
    }

    /// The settings of the adapter that a run starts from. LoRA settings that are given as well
    /// must equal the adapter's.
    pub(crate) fn of_adapter(
        &self,
        adapter: &Path,
        config: LoraConfig,
        is_given: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        let own = Self {
            lora_r: Some(config.r),
            lora_alpha: config.alpha,
            lora_dropout: config.dropout,
            lora_target_modules: config.target_modules,
        };
        let given = |settings: &Self| -> Result<RunConfig> {
            let all = RunConfig::of(settings).into_diagnostic()?.table.into_iter();
            let table = all.filter(|(name, _)| is_given(name)).collect();
            Ok(RunConfig { table })
        };
        match given(&own)?.difference(&given(self)?) {
            None => Ok(own),
            Some(difference) => Err(miette!(
                help = "leave the adapter's settings out, or give the same",
                "the settings given are not those of the adapter {}: {difference}",
                adapter.display()
            )),
        }
    }

    /// Checks that the settings fit together.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(lora) = self.config() {
            return lora.check().into_diagnostic();
        }
        let default = RunConfig::of(&Self::default()).into_diagnostic()?;
        match default.difference(&RunConfig::of(self).into_diagnostic()?) {
            None => Ok(()),
            Some(difference) => Err(miette!(
                help =
                    "turn LoRA on with --lora-r N, or leave the setting out to train all weights",
                "LoRA is off without a rank, but one of its settings is given: {difference}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_brings_its_settings_and_refuses_others() {
        let config = || LoraConfig {
            r: 4,
            alpha: 8.0,
            dropout: 0.1,
            target_modules: TargetModule::ALL.into(),
        };
        let of_adapter = |settings: &LoraSettings, given: &[&str]| {
            settings.of_adapter(Path::new("adapter"), config(), |name| given.contains(&name))
        };
        let default = LoraSettings::default();
        let own = of_adapter(&default, &[]).expect("nothing is given");
        assert_eq!((own.lora_r, own.lora_alpha), (Some(4), 8.0));
        let all = [
            "lora_r",
            "lora_alpha",
            "lora_dropout",
            "lora_target_modules",
        ];
        assert_eq!(of_adapter(&own, &all).expect("the same"), own);
        // A rank alone does not bring the defaults of the others.
        let rank = LoraSettings {
            lora_r: Some(4),
            ..default
        };
        assert_eq!(of_adapter(&rank, &["lora_r"]).expect("the same"), own);
        let other = LoraSettings {
            lora_alpha: 9.0,
            lora_target_modules: [TargetModule::QProj].into(),
            ..own
        };
        for (given, says) in [
            ("lora_alpha", "lora_alpha was 8.0, is 9.0"),
            ("lora_target_modules", "lora_target_modules was"),
        ] {
            let error = of_adapter(&other, &[given]).expect_err(given).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
