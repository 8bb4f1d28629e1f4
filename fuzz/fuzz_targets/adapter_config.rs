//! `adapter_config.json` of an adapter.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plw_model::LoraConfig;

fuzz_target!(|text: &str| {
    if let Ok(config) = LoraConfig::from_json(text) {
        assert_eq!(config.check(), Ok(()));
    }
});
