//! `config.json` of a model.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plw_model::LlamaConfig;

fuzz_target!(|text: &str| {
    if let Ok(config) = LlamaConfig::from_json(text) {
        assert!(config.parameter_count() <= 1 << 42);
    }
});
