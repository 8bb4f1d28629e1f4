//! The settings of a preset, each group of them as the binary reads it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plw_data::PromptSettings;
use plw_eval::EvaluationOptions;
use plw_train::{BatchingArguments, LossArguments, TrainingArguments};

fuzz_target!(|text: &str| {
    if let Ok(training) = toml::from_str::<TrainingArguments>(text) {
        let _ = training.check();
    }
    if let Ok(batching) = toml::from_str::<BatchingArguments>(text) {
        let _ = batching.check();
    }
    if let Ok(loss) = toml::from_str::<LossArguments>(text) {
        let _ = loss.objective();
    }
    let _ = toml::from_str::<PromptSettings>(text);
    let _ = toml::from_str::<EvaluationOptions>(text);
});
