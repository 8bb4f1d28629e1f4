//! Writing tensors to a safetensors file, one after another, so that their bytes are never all in
//! memory.
//!
//! Not safetensors' own writer: it syncs nothing to disk, leaves a file that only its owner may
//! read, and holds a whole tensor's bytes. The bytes in the file are the same.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use burn::tensor::Tensor;
use half::{bf16, f16};
use plw_files::{FileError, write_atomic_with};
use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::CheckpointError;
use crate::weight_type::WeightType;

/// Elements that are converted at once.
const PIECE: usize = 1 << 14;

/// A tensor to be stored.
pub struct StoredTensor {
    /// Its name in the file.
    pub name: String,
    /// Its shape in the file.
    pub shape: Vec<usize>,
    /// Its values, row-major, without a graph.
    pub values: Tensor<1>,
}

/// Writes tensors that transformers can read to a file, rounding to `weight_type`.
pub(crate) fn write_weights(
    path: &Path,
    tensors: impl IntoIterator<Item = StoredTensor>,
    weight_type: WeightType,
) -> Result<(), CheckpointError> {
    // transformers refuses a file that does not say which framework's layout it has.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    write_tensors(path, tensors, weight_type, metadata)
}

/// Writes tensors to a safetensors file, rounding to `weight_type`. The file appears complete or
/// not at all.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write_tensors(
    path: &Path,
    tensors: impl IntoIterator<Item = StoredTensor>,
    weight_type: WeightType,
    metadata: HashMap<String, String>,
) -> Result<(), CheckpointError> {
    let mut tensors: Vec<StoredTensor> = tensors.into_iter().collect();
    // The order of safetensors' own writer, for tensors of one type.
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    write_atomic_with(path, |writer| {
        write_header(writer, &tensors, weight_type, metadata)
            .and_then(|()| {
                let mut tensors = tensors.iter();
                tensors.try_for_each(|tensor| write_values(writer, tensor, weight_type))
            })
            .map_err(FileError::cannot("write", path))?;
        Ok(())
    })
}

/// The header's length, and the header: names, types, shapes and places in JSON.
fn write_header(
    writer: &mut impl Write,
    tensors: &[StoredTensor],
    weight_type: WeightType,
    metadata: HashMap<String, String>,
) -> io::Result<()> {
    let mut end = 0;
    let infos = tensors.iter().map(|tensor| {
        let start = end;
        end += tensor.shape.iter().product::<usize>() * weight_type.bytes() as usize;
        let info = TensorInfo {
            dtype: weight_type.stored(),
            shape: tensor.shape.clone(),
            data_offsets: (start, end),
        };
        (tensor.name.clone(), info)
    });
    let header = Metadata::new(Some(metadata), infos.collect()).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&header)?;
    // The tensors start at a multiple of 8 bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    writer.write_all(&(header.len() as u64).to_le_bytes())?;
    writer.write_all(&header)
}

fn write_values(
    writer: &mut impl Write,
    tensor: &StoredTensor,
    weight_type: WeightType,
) -> io::Result<()> {
    let data = tensor.values.to_data_as::<f32>();
    let values = data.as_slice::<f32>().expect("just read as f32");
    let mut bytes = Vec::with_capacity(4 * PIECE);
    for piece in values.chunks(PIECE) {
        bytes.clear();
        match weight_type {
            WeightType::F32 => piece.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            WeightType::Bf16 => piece
                .iter()
                .for_each(|&v| bytes.extend(bf16::from_f32(v).to_le_bytes())),
            WeightType::F16 => piece
                .iter()
                .for_each(|&v| bytes.extend(f16::from_f32(v).to_le_bytes())),
        }
        writer.write_all(&bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use safetensors::tensor::TensorView;

    #[test]
    fn the_bytes_are_those_of_safetensors_own_writer() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("tensors.safetensors");
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        // The second tensor has more elements than are converted at once.
        let shapes = [("b", vec![3]), ("a.weight", vec![2, PIECE])];
        let values = |count: usize| -> Vec<f32> { (0..count).map(|i| 0.1 * i as f32).collect() };
        for weight_type in [WeightType::F32, WeightType::Bf16, WeightType::F16] {
            let tensors = shapes.iter().map(|(name, shape)| StoredTensor {
                name: name.to_string(),
                shape: shape.clone(),
                values: Tensor::from_floats(
                    values(shape.iter().product()).as_slice(),
                    &Device::flex(),
                ),
            });
            write_tensors(&path, tensors, weight_type, metadata.clone()).expect("written");
            let bytes = shapes.each_ref().map(|(_, shape)| -> Vec<u8> {
                let values = values(shape.iter().product()).into_iter();
                match weight_type {
                    WeightType::F32 => values.flat_map(f32::to_le_bytes).collect(),
                    WeightType::Bf16 => values
                        .flat_map(|v| bf16::from_f32(v).to_le_bytes())
                        .collect(),
                    WeightType::F16 => values
                        .flat_map(|v| f16::from_f32(v).to_le_bytes())
                        .collect(),
                }
            });
            let views = shapes.iter().zip(&bytes).map(|((name, shape), bytes)| {
                let view = TensorView::new(weight_type.stored(), shape.clone(), bytes);
                (name, view.expect("consistent"))
            });
            let expected = safetensors::serialize(views, Some(metadata.clone()));
            assert!(std::fs::read(&path).expect("there") == expected.expect("serialized"));
        }
    }
}
