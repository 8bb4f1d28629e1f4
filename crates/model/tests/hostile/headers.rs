//! The header of a safetensors file.

use plw_model::TensorHeader;
use proptest::prelude::*;
use serde_json::{Value, json};

use plw_mutate::{mutated, mutations, try_all, with_little_memory};

/// A file of this header and so many bytes of tensors, of which the header's length is said to be
/// `said` bytes more.
fn file(header: &Value, data: usize, said: u64) -> Vec<u8> {
    let header = header.to_string();
    let mut bytes = (header.len() as u64)
        .wrapping_add(said)
        .to_le_bytes()
        .to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

/// What an accepted header promises: every tensor is in the file.
fn check(bytes: &[u8]) {
    match TensorHeader::read(bytes, bytes.len() as u64) {
        Ok(header) => {
            for place in header.tensors.values() {
                let elements: usize = place.shape.iter().product();
                assert_eq!(place.bytes * 8, elements * place.dtype.bitsize());
                assert!(place.offset + place.bytes as u64 <= bytes.len() as u64);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[test]
fn any_header_is_read_or_refused() {
    let good = json!({
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
        "c": {"dtype": "F16", "shape": [], "data_offsets": [32, 34]}
    });
    let bytes = file(&good, 34, 0);
    TensorHeader::read(bytes.as_slice(), bytes.len() as u64).expect("good");
    with_little_memory("headers::any_header_is_read_or_refused", || {
        // Mostly the header's length is right, and the rest of the file is what it was.
        let said = prop_oneof![8 => Just(0), 1 => any::<u64>(), 1 => 0u64..1 << 34];
        let cut = prop_oneof![4 => Just(0), 1 => 0usize..99];
        let cases = (mutations(), said, cut);
        try_all(2000, cases, |(mutations, said, cut)| {
            let mut bytes = file(&mutated(&good, &mutations), 34, said);
            bytes.truncate(bytes.len().saturating_sub(cut).max(1));
            check(&bytes);
            said == 0 && cut == 0
        });
    });
}

#[test]
fn lengths_at_the_limits_are_refused() {
    with_little_memory("headers::lengths_at_the_limits_are_refused", || {
        for length in [
            0,
            1,
            7,
            8,
            9,
            100_000_001,
            10_000_000_000,
            u64::MAX - 8,
            u64::MAX,
        ] {
            for said in [
                0,
                1,
                100_000_000,
                100_000_001,
                10_000_000_000,
                u64::MAX - 8,
                u64::MAX,
            ] {
                let mut file: Vec<u8> = said.to_le_bytes().to_vec();
                file.extend([b'{'; 99]);
                let header = TensorHeader::read(file.as_slice(), length);
                assert!(header.is_err(), "{said} of {length}");
            }
        }
    });
}
