//! Safetensors files: one, or shards with an index; read tensor by tensor, so that no file is held whole.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn::tensor::{FloatDType, Tensor};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, View};
use serde::{Deserialize, Serialize};

use crate::error::{CheckpointError, io};

/// Element type of stored weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightType {
    /// 32-bit floating point, what training computes in.
    #[default]
    #[serde(rename = "float32")]
    F32,
    /// The upper half of an f32.
    #[serde(rename = "bfloat16")]
    Bf16,
    /// IEEE half precision.
    #[serde(rename = "float16")]
    F16,
}

impl WeightType {
    /// As transformers writes it into `config.json`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    pub(crate) fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }
}

/// The tensors of a checkpoint, by name.
pub(crate) struct TensorFiles {
    /// The file that stands for the whole in messages: the only one, or the index.
    whole: PathBuf,
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
        let text = std::fs::read_to_string(&path).map_err(io(&path))?;
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
            tensors,
        })
    }

    /// One file.
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let (_, data, header) = open_tensors(path)?;
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
            tensors,
        })
    }

    /// Removes what `unwanted` says has no place in a model and does no harm.
    pub(crate) fn ignore(&mut self, unwanted: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| !unwanted(name));
    }

    /// Whether a tensor of this name is left.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The file that stands for the whole in messages.
    pub(crate) fn whole(&self) -> &Path {
        &self.whole
    }

    /// Takes a tensor out, as f32, row-major.
    pub(crate) fn take(
        &mut self,
        name: &str,
        shape: &[usize],
    ) -> Result<Vec<f32>, CheckpointError> {
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

    /// Fails if a tensor was never taken.
    pub(crate) fn finish(self) -> Result<(), CheckpointError> {
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

/// Opens a safetensors file: the file, where its tensors' bytes begin, and its header.
///
/// # Errors
///
/// Where it cannot be read, or its length is not what its header says.
pub fn open_tensors(path: &Path) -> Result<(File, u64, Metadata), CheckpointError> {
    let damaged = |reason: String| CheckpointError::Damaged {
        path: path.into(),
        reason,
    };
    let mut file = File::open(path).map_err(io(path))?;
    let length = file.metadata().map_err(io(path))?.len();
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
    file.read_exact(&mut header).map_err(io(path))?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
    let expected = 8 + header_length + header.data_len() as u64;
    if length != expected {
        return Err(damaged(format!(
            "it has {length} bytes and should have {expected}"
        )));
    }
    Ok((file, 8 + header_length, header))
}

impl Entry {
    fn read(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let mut bytes = vec![0; self.bytes];
        let mut file = File::open(&self.path).map_err(io(&self.path))?;
        file.seek(SeekFrom::Start(self.offset))
            .map_err(io(&self.path))?;
        file.read_exact(&mut bytes).map_err(io(&self.path))?;
        let pairs = || {
            bytes
                .chunks_exact(2)
                .map(|b| u16::from_le_bytes([b[0], b[1]]))
        };
        match self.dtype {
            Dtype::F32 => Ok(bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect()),
            Dtype::BF16 => Ok(pairs().map(|bits| bf16::from_bits(bits).to_f32()).collect()),
            Dtype::F16 => Ok(pairs().map(|bits| f16::from_bits(bits).to_f32()).collect()),
            other => Err(CheckpointError::Type {
                path: self.path.clone(),
                tensor: name.into(),
                found: format!("{other:?}"),
            }),
        }
    }
}

/// A tensor to be stored.
pub struct StoredTensor {
    /// Its name in the file.
    pub name: String,
    /// Its shape in the file.
    pub shape: Vec<usize>,
    /// Its values, row-major, without a graph.
    pub values: Tensor<1>,
}

/// Writes tensors that transformers reads to a file, rounding to `weight_type`.
pub(crate) fn write(
    path: &Path,
    tensors: impl IntoIterator<Item = StoredTensor>,
    weight_type: WeightType,
) -> Result<(), CheckpointError> {
    // transformers refuses a file that does not say which framework's layout it has.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    write_tensors(path, tensors, weight_type, metadata)
}

/// Writes tensors to a safetensors file, rounding to `weight_type`; converted one by one, so that their bytes are never all in
/// memory, under a temporary name until complete.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn write_tensors(
    path: &Path,
    tensors: impl IntoIterator<Item = StoredTensor>,
    weight_type: WeightType,
    metadata: HashMap<String, String>,
) -> Result<(), CheckpointError> {
    let views = tensors.into_iter().map(|stored| {
        (
            stored.name.clone(),
            StoredView {
                stored,
                weight_type,
            },
        )
    });
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => CheckpointError::Io {
            path: path.into(),
            source,
        },
        other => CheckpointError::Damaged {
            path: path.into(),
            reason: other.to_string(),
        },
    })
}

struct StoredView {
    stored: StoredTensor,
    weight_type: WeightType,
}

impl View for StoredView {
    fn dtype(&self) -> Dtype {
        match self.weight_type {
            WeightType::F32 => Dtype::F32,
            WeightType::Bf16 => Dtype::BF16,
            WeightType::F16 => Dtype::F16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.stored.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let data = self.stored.values.to_data_as::<f32>();
        let values = data.as_slice::<f32>().expect("just read as f32");
        let bytes = match self.weight_type {
            // The largest tensor, twice in memory as it is, would be held three times by a conversion number by number.
            WeightType::F32 if cfg!(target_endian = "little") => {
                bytemuck::cast_slice::<f32, u8>(values).to_vec()
            }
            WeightType::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            WeightType::Bf16 => values
                .iter()
                .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
                .collect(),
            WeightType::F16 => values
                .iter()
                .flat_map(|&v| f16::from_f32(v).to_le_bytes())
                .collect(),
        };
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.stored.shape.iter().product::<usize>() * self.weight_type.bytes() as usize
    }
}
