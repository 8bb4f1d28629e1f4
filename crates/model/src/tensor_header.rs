//! The header of a safetensors file: the name, type, shape and place of each tensor.

use std::collections::HashMap;
use std::io::{self, Read};

use safetensors::tensor::{Dtype, Metadata};

/// The longest header that the format allows, in bytes.
const MOST_HEADER_BYTES: u64 = 100_000_000;

/// Why the header of a safetensors file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The file is not what its header says, or has none.
    #[error("{0}")]
    Damaged(String),
}

/// The header of a safetensors file, checked: the tensors fill the rest of the file.
#[derive(Debug)]
pub struct TensorHeader {
    /// The texts that the file holds beside its tensors.
    pub metadata: HashMap<String, String>,
    /// Each tensor's place, by its name.
    pub tensors: HashMap<String, TensorPlace>,
}

/// The type and shape of a tensor, and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlace {
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// Their number.
    pub bytes: usize,
}

impl TensorHeader {
    /// Reads the header at the beginning of a file of `length` bytes.
    ///
    /// # Errors
    ///
    /// If there is no valid header, or its tensors do not end where the file ends.
    pub fn read(mut file: impl Read, length: u64) -> Result<Self, HeaderError> {
        let damaged = |reason: String| Err(HeaderError::Damaged(reason));
        let Some(most) = length.checked_sub(8) else {
            return damaged("it is shorter than 8 bytes".into());
        };
        let mut size = [0; 8];
        file.read_exact(&mut size)?;
        let size = u64::from_le_bytes(size);
        if size > most.min(MOST_HEADER_BYTES) {
            return damaged(format!("its header should have {size} bytes"));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header)?;
        let header: Metadata = match serde_json::from_slice(&header) {
            Ok(header) => header,
            Err(error) => return damaged(error.to_string()),
        };
        let start = 8 + size;
        let end = start.saturating_add(header.data_len() as u64);
        if length != end {
            return damaged(format!("it has {length} bytes and should have {end}"));
        }
        let tensors = header.tensors().into_iter().map(|(name, info)| {
            let (from, to) = info.data_offsets;
            let place = TensorPlace {
                dtype: info.dtype,
                shape: info.shape.clone(),
                offset: start + from as u64,
                bytes: to - from,
            };
            (name, place)
        });
        Ok(Self {
            tensors: tensors.collect(),
            metadata: header.metadata().clone().unwrap_or_default(),
        })
    }
}
