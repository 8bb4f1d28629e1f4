//! Reading tensors from safetensors files: one file, or shards with an index.
//!
//! Reads one tensor at a time, in pieces, so that no file and no tensor is in memory twice. The
//! pieces of a tensor are read side by side: of 7 billion weights most of the time goes into
//! converting them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use plw_files::{FileError, open_regular, read_text};
use rayon::prelude::*;
use safetensors::tensor::Dtype;

use crate::error::CheckpointError;
use crate::shard_index::ShardIndex;
use crate::tensor_header::{HeaderError, TensorHeader, TensorPlace};

/// Elements that are read at once.
const PIECE: usize = 1 << 16;

/// The most bytes of an index of shards: 64 MiB, several hundred thousand tensors.
const MOST_INDEX: u64 = 1 << 26;

/// The tensors of a checkpoint, by name. Each can be taken once.
pub struct TensorFiles {
    /// The file that stands for the whole in messages: the only one, or the index.
    whole: PathBuf,
    metadata: HashMap<String, String>,
    tensors: BTreeMap<String, Entry>,
}

struct Entry {
    path: PathBuf,
    place: TensorPlace,
}

impl TensorFiles {
    /// `model.safetensors` of a directory, or the shards that `model.safetensors.index.json` names.
    pub(crate) fn open_model(directory: &Path) -> Result<Self, CheckpointError> {
        let single = directory.join("model.safetensors");
        if single.exists() {
            return Self::open(&single);
        }
        let path = directory.join("model.safetensors.index.json");
        if !path.exists() {
            return Err(CheckpointError::NoWeights {
                directory: directory.into(),
            });
        }
        let index = ShardIndex::from_json(&read_text(&path, MOST_INDEX)?);
        let index = index.map_err(|source| CheckpointError::Index {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            tensors: Self::open_shards(directory, &index)?,
            metadata: HashMap::new(),
            whole: path,
        })
    }

    /// The tensors of all shards, each from the shard that the index names.
    fn open_shards(
        directory: &Path,
        index: &ShardIndex,
    ) -> Result<BTreeMap<String, Entry>, CheckpointError> {
        let mut tensors = BTreeMap::new();
        let mut opened = BTreeSet::new();
        for (tensor, shard) in index.iter() {
            if !opened.insert(shard) {
                continue;
            }
            let path = directory.join(shard);
            if !path.exists() {
                return Err(CheckpointError::MissingShard {
                    path,
                    tensor: tensor.into(),
                });
            }
            for (tensor, entry) in Self::open(&path)?.tensors {
                let is_elsewhere = index.shard(&tensor).is_some_and(|named| named != shard);
                if is_elsewhere || tensors.contains_key(&tensor) {
                    return Err(CheckpointError::TwoShards { path, tensor });
                }
                tensors.insert(tensor, entry);
            }
        }
        match index
            .iter()
            .find(|(tensor, _)| !tensors.contains_key(*tensor))
        {
            None => Ok(tensors),
            Some((tensor, shard)) => Err(CheckpointError::NotInShard {
                path: directory.join(shard),
                tensor: tensor.into(),
            }),
        }
    }

    /// One file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or its length is not what its header says.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = open_regular(path)?;
        let length = file.metadata().map_err(FileError::cannot("read", path))?;
        let header = TensorHeader::read(file, length.len()).map_err(|error| match error {
            HeaderError::Read(source) => FileError::cannot("read", path)(source).into(),
            HeaderError::Damaged(reason) => CheckpointError::Damaged {
                path: path.into(),
                reason,
            },
        })?;
        let entry = |(name, place)| {
            let path = path.to_path_buf();
            (name, Entry { path, place })
        };
        Ok(Self {
            whole: path.into(),
            tensors: header.tensors.into_iter().map(entry).collect(),
            metadata: header.metadata,
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
        tensors.map(|(name, entry)| (name.as_str(), format!("{:?}", entry.place.dtype)))
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
    /// If there is no such tensor, it has another shape or an unsupported type, its values are not
    /// finite, or its file cannot be read. The error names file and tensor.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        self.entry(name, shape)?.read(name)
    }

    /// Takes a tensor out without reading it, with the errors of [`Self::take`] but for those of
    /// its values.
    pub(crate) fn skip(&mut self, name: &str, shape: &[usize]) -> Result<(), CheckpointError> {
        let entry = self.entry(name, shape)?;
        match entry.place.dtype {
            Dtype::F32 | Dtype::BF16 | Dtype::F16 => Ok(()),
            other => Err(entry.unsupported(name, other)),
        }
    }

    fn entry(&mut self, name: &str, shape: &[usize]) -> Result<Entry, CheckpointError> {
        let Some(entry) = self.tensors.remove(name) else {
            return Err(CheckpointError::MissingTensor {
                path: self.whole.clone(),
                tensor: name.into(),
                expected: shape.into(),
            });
        };
        if entry.place.shape != shape {
            return Err(CheckpointError::Shape {
                path: entry.path,
                tensor: name.into(),
                found: entry.place.shape,
                expected: shape.into(),
            });
        }
        Ok(entry)
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
                found: entry.place.shape,
            }),
        }
    }
}

impl Entry {
    fn read(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let values = match self.place.dtype {
            Dtype::F32 => self.decode(f32::from_le_bytes),
            Dtype::BF16 => self.decode(|bytes| bf16::from_le_bytes(bytes).to_f32()),
            Dtype::F16 => self.decode(|bytes| f16::from_le_bytes(bytes).to_f32()),
            other => return Err(self.unsupported(name, other)),
        };
        let values = values.map_err(FileError::cannot("read", &self.path))?;
        match values.par_iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(CheckpointError::NotFinite {
                path: self.path.clone(),
                tensor: name.into(),
            }),
        }
    }

    fn unsupported(&self, name: &str, dtype: Dtype) -> CheckpointError {
        CheckpointError::Type {
            path: self.path.clone(),
            tensor: name.into(),
            found: format!("{dtype:?}"),
        }
    }

    /// Elements of `WIDTH` bytes each, which need not be aligned in the file.
    fn decode<const WIDTH: usize>(
        &self,
        to_f32: impl Fn([u8; WIDTH]) -> f32 + Sync,
    ) -> io::Result<Vec<f32>> {
        let mut values = vec![0.0; self.place.bytes / WIDTH];
        let pieces = values.par_chunks_mut(PIECE).enumerate();
        // A file has one place to read from, so that each thread opens its own.
        let open = || File::open(&self.path).map(|file| (file, vec![0; PIECE * WIDTH]));
        pieces.try_for_each_init(open, |opened, (number, values)| {
            let (file, bytes) = match opened {
                Ok((file, bytes)) => (file, &mut bytes[..values.len() * WIDTH]),
                Err(error) => return Err(io::Error::new(error.kind(), error.to_string())),
            };
            let before = (number * PIECE * WIDTH) as u64;
            file.seek(SeekFrom::Start(self.place.offset + before))?;
            file.read_exact(bytes)?;
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
                *value = to_f32(*bytes);
            }
            Ok(())
        })?;
        Ok(values)
    }
}
