//! Reading tensors from safetensors files: one file, or shards with an index.
//!
//! Reads one tensor at a time, in pieces, so that no file and no tensor is in memory twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use plw_files::FileError;
use safetensors::tensor::{Dtype, Metadata};
use serde::Deserialize;

use crate::error::CheckpointError;

/// Bytes that are read at once, a multiple of every element's.
const PIECE: usize = 1 << 16;

/// The tensors of a checkpoint, by name. Each can be taken once.
pub struct TensorFiles {
    /// The file that stands for the whole in messages: the only one, or the index.
    whole: PathBuf,
    metadata: HashMap<String, String>,
    tensors: BTreeMap<String, Entry>,
}

struct Entry {
    path: PathBuf,
    dtype: Dtype,
    shape: Vec<usize>,
    offset: u64,
    bytes: usize,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl TensorFiles {
    /// `model.safetensors` of a directory, or the shards that `model.safetensors.index.json` names.
    pub(crate) fn open_model(directory: &Path) -> Result<Self, CheckpointError> {
        let single = directory.join("model.safetensors");
        if single.is_file() {
            return Self::open(&single);
        }
        let path = directory.join("model.safetensors.index.json");
        if !path.is_file() {
            return Err(CheckpointError::NoWeights {
                directory: directory.into(),
            });
        }
        let text = std::fs::read_to_string(&path).map_err(FileError::cannot("read", &path))?;
        let index: Index = serde_json::from_str(&text).map_err(|source| CheckpointError::Json {
            path: path.clone(),
            source,
        })?;
        let mut tensors = BTreeMap::new();
        let mut opened = BTreeSet::new();
        for (tensor, shard) in &index.weight_map {
            if !opened.insert(shard) {
                continue;
            }
            let path = directory.join(shard);
            if !path.is_file() {
                return Err(CheckpointError::MissingShard {
                    path,
                    tensor: tensor.clone(),
                });
            }
            tensors.extend(Self::open(&path)?.tensors);
        }
        Ok(Self {
            whole: path,
            metadata: HashMap::new(),
            tensors,
        })
    }

    /// One file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or its length is not what its header says.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let (data, header) = read_header(path)?;
        let tensors = header
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                let (start, end) = info.data_offsets;
                let entry = Entry {
                    path: path.into(),
                    dtype: info.dtype,
                    shape: info.shape.clone(),
                    offset: data + start as u64,
                    bytes: end - start,
                };
                (name, entry)
            })
            .collect();
        Ok(Self {
            whole: path.into(),
            metadata: header.metadata().clone().unwrap_or_default(),
            tensors,
        })
    }

    /// Leaves out the tensors that `unwanted` names: those that a model does without.
    pub(crate) fn ignore(&mut self, unwanted: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| !unwanted(name));
    }

    /// What the header of a single file says under `key`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// The tensors that are left, each with its element type as safetensors names it.
    pub fn types(&self) -> impl Iterator<Item = (&str, String)> {
        let tensors = self.tensors.iter();
        tensors.map(|(name, entry)| (name.as_str(), format!("{:?}", entry.dtype)))
    }

    /// Whether a tensor of this name is left.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The file that stands for the whole in messages.
    pub(crate) fn whole(&self) -> &Path {
        &self.whole
    }

    /// Takes a tensor out, as f32, row-major.
    ///
    /// # Errors
    ///
    /// If there is no such tensor, it has another shape or an unsupported type, or its file cannot
    /// be read. The error names file and tensor.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let Some(entry) = self.tensors.remove(name) else {
            return Err(CheckpointError::MissingTensor {
                path: self.whole.clone(),
                tensor: name.into(),
                expected: shape.into(),
            });
        };
        if entry.shape != shape {
            return Err(CheckpointError::Shape {
                path: entry.path,
                tensor: name.into(),
                found: entry.shape,
                expected: shape.into(),
            });
        }
        entry.read(name)
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// If a tensor was never taken: it would be lost.
    pub fn finish(self) -> Result<(), CheckpointError> {
        match self.tensors.into_iter().next() {
            None => Ok(()),
            Some((tensor, entry)) => Err(CheckpointError::UnexpectedTensor {
                path: entry.path,
                tensor,
                found: entry.shape,
            }),
        }
    }
}

/// Where the tensors' bytes begin in a safetensors file, and its header.
fn read_header(path: &Path) -> Result<(u64, Metadata), CheckpointError> {
    let damaged = |reason: String| CheckpointError::Damaged {
        path: path.into(),
        reason,
    };
    let mut file = File::open(path).map_err(FileError::cannot("read", path))?;
    let length = file.metadata().map_err(FileError::cannot("read", path))?;
    let length = length.len();
    let mut size = [0; 8];
    file.read_exact(&mut size)
        .map_err(|_| damaged("it is shorter than 8 bytes".into()))?;
    let header_length = u64::from_le_bytes(size);
    if header_length > length - 8 {
        return Err(damaged(format!(
            "its header should have {header_length} bytes"
        )));
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header)
        .map_err(FileError::cannot("read", path))?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
    let expected = 8 + header_length + header.data_len() as u64;
    if length != expected {
        return Err(damaged(format!(
            "it has {length} bytes and should have {expected}"
        )));
    }
    Ok((8 + header_length, header))
}

impl Entry {
    fn read(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let values = match self.dtype {
            Dtype::F32 => self.decode(f32::from_le_bytes),
            Dtype::BF16 => self.decode(|bytes| bf16::from_le_bytes(bytes).to_f32()),
            Dtype::F16 => self.decode(|bytes| f16::from_le_bytes(bytes).to_f32()),
            other => {
                return Err(CheckpointError::Type {
                    path: self.path.clone(),
                    tensor: name.into(),
                    found: format!("{other:?}"),
                });
            }
        };
        Ok(values.map_err(FileError::cannot("read", &self.path))?)
    }

    /// Elements of `WIDTH` bytes each, which need not be aligned in the file.
    fn decode<const WIDTH: usize>(
        &self,
        to_f32: impl Fn([u8; WIDTH]) -> f32,
    ) -> io::Result<Vec<f32>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut values = Vec::with_capacity(self.bytes / WIDTH);
        let mut piece = vec![0; PIECE.min(self.bytes)];
        let mut left = self.bytes;
        while left > 0 {
            let piece = &mut piece[..left.min(PIECE)];
            file.read_exact(piece)?;
            values.extend(piece.as_chunks().0.iter().copied().map(&to_f32));
            left -= piece.len();
        }
        Ok(values)
    }
}
