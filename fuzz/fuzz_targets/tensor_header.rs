//! The header of a safetensors file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plw_model::TensorHeader;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = TensorHeader::read(bytes, bytes.len() as u64) {
        for place in header.tensors.values() {
            assert!(place.offset + place.bytes as u64 <= bytes.len() as u64);
        }
    }
});
