//! The predictions of an evaluation: `predictions.parquet`.

use std::path::Path;

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use plw_files::{guarded, open_regular, write_atomic};
use plw_parquet::{check_footer, rows_at_a_time};

use crate::prediction_columns::{read_batch, to_batch};
use crate::{PredictionRow, RecordError};

/// Most rows that are decoded at a time.
const BATCH: usize = 1024;

/// Most bytes of predictions in memory: those of some million examples.
const MOST_BYTES: usize = 1 << 29;

/// Writes predictions in the given order, atomically. Columns: file, row, example_id, level,
/// answer, choice, logits (a list of float32), argmax_is_answer, prompt_loss, completion_loss,
/// answer_loss, completion_tokens. Where an example is no question, answer, choice and
/// argmax_is_answer are null and the list of logits is empty.
pub fn write_predictions(
    path: impl AsRef<Path>,
    predictions: &[PredictionRow],
) -> Result<(), RecordError> {
    let path = path.as_ref();
    let failed = |source: ParquetError| RecordError::Parquet {
        path: path.to_path_buf(),
        source: Box::new(source),
    };
    let batch = to_batch(predictions).map_err(|source| failed(source.into()))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    writer.close().map_err(failed)?;
    Ok(write_atomic(path, bytes)?)
}

/// Reads predictions of [`write_predictions`], or another program's file with the same columns.
/// Files of earlier versions lack `completion_tokens`.
///
/// # Errors
///
/// If the file cannot be read, is damaged, or has other columns.
pub fn read_predictions(path: impl AsRef<Path>) -> Result<Vec<PredictionRow>, RecordError> {
    let path = path.as_ref();
    guarded(|| read_rows(path)).unwrap_or_else(|panic| {
        Err(RecordError::Parquet {
            path: path.to_path_buf(),
            source: Box::new(ParquetError::General(panic)),
        })
    })
}

fn read_rows(path: &Path) -> Result<Vec<PredictionRow>, RecordError> {
    let failed = |source: ParquetError| RecordError::Parquet {
        path: path.to_path_buf(),
        source: Box::new(source),
    };
    let refused = |problem: String| failed(ParquetError::General(problem));
    let file = open_regular(path)?;
    check_footer(&file).map_err(|fault| refused(fault.to_string()))?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(failed)?;
    let (mut predictions, mut bytes) = (Vec::new(), 0);
    for (number, group) in metadata.metadata().row_groups().iter().enumerate() {
        let rows = rows_at_a_time(&file, group, 0..group.num_columns(), BATCH);
        let rows = rows.map_err(|fault| refused(fault.to_string()))?;
        let reader = file.try_clone().map_err(ParquetError::from);
        let reader = reader.and_then(|file| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
                .with_row_groups(vec![number])
                .with_batch_size(rows)
                .build()
        });
        for batch in reader.map_err(failed)? {
            let batch = batch.map_err(|source| failed(source.into()))?;
            let before = predictions.len();
            read_batch(path, &batch, &mut predictions)?;
            bytes += predictions[before..].iter().map(size).sum::<usize>();
            if bytes > MOST_BYTES {
                return Err(refused(format!(
                    "its predictions take more than {MOST_BYTES} bytes of memory"
                )));
            }
        }
    }
    Ok(predictions)
}

/// What a prediction takes in memory.
fn size(row: &PredictionRow) -> usize {
    let texts = row.key.file.len() + row.key.example_id.len() + row.key.level.len();
    size_of::<PredictionRow>() + texts + size_of_val(row.logits.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use plw_batch::ExampleKey;
    use std::fs::File;
    use std::sync::Arc;

    fn prediction(row: u64, logits: &[f32], prompt_loss: Option<f32>) -> PredictionRow {
        PredictionRow {
            key: ExampleKey {
                file: "middle/validation-00000-of-00001.parquet".into(),
                row,
                example_id: "middle1.txt".to_string(),
                level: "middle".into(),
                answer: Some('B'),
            },
            choice: Some('A'),
            logits: logits.to_vec(),
            argmax_is_answer: row.is_multiple_of(2),
            prompt_loss,
            completion_loss: Some(0.5),
            answer_loss: Some(1.5),
            completion_tokens: Some(3 + row),
        }
    }

    /// The prediction for an example that is no question.
    fn without_choice(completion_loss: Option<f32>, completion_tokens: u64) -> PredictionRow {
        let question = prediction(0, &[], None);
        PredictionRow {
            key: ExampleKey {
                answer: None,
                ..question.key
            },
            choice: None,
            argmax_is_answer: false,
            completion_loss,
            answer_loss: None,
            completion_tokens: Some(completion_tokens),
            ..question
        }
    }

    #[test]
    fn predictions_read_back_in_order() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("predictions/step-0.parquet");
        let rows = [
            prediction(7, &[0.1, -2.5, 3.0, f32::MIN], None),
            prediction(3, &[1.0, 2.0], Some(2.25)),
            prediction(5, &[], None),
            without_choice(Some(2.5), 40),
            without_choice(None, 0),
        ];
        write_predictions(&path, &rows)?;
        assert_eq!(read_predictions(&path)?, rows);
        write_predictions(&path, &rows[3..])?;
        assert_eq!(read_predictions(&path)?, rows[3..]);
        write_predictions(&path, &[])?;
        assert_eq!(read_predictions(&path)?, []);
        Ok(())
    }

    #[test]
    fn a_changed_bit_never_panics() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("predictions.parquet");
        let rows: Vec<_> = (0..40)
            .map(|row| prediction(row, &[0.5, -1.0, row as f32, 2.0], None))
            .collect();
        write_predictions(&path, &rows)?;
        let whole = std::fs::read(&path)?;
        let mut refused = 0;
        for index in 0..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 1;
            std::fs::write(&path, changed)?;
            refused += usize::from(read_predictions(&path).is_err());
        }
        assert!(refused > 0);
        Ok(())
    }

    #[test]
    fn another_table_is_refused_by_column() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("other.parquet");
        let names: ArrayRef = Arc::new(StringArray::from(vec!["a.parquet"]));
        let batch = RecordBatch::try_from_iter([("file", names.clone()), ("row", names)])?;
        let mut writer = ArrowWriter::try_new(File::create(&path)?, batch.schema(), None)?;
        writer.write(&batch)?;
        writer.close()?;
        let message = read_predictions(&path)
            .expect_err("it is refused")
            .to_string();
        assert!(
            message.contains("other.parquet") && message.contains("column `row`"),
            "{message}"
        );
        Ok(())
    }
}
