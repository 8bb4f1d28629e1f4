//! The prediction for each question: `predictions.parquet`.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Int64Array, ListArray, RecordBatch,
    StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use plw_batch::ExampleKey;
use plw_files::{guarded, open_regular, write_atomic};
use plw_parquet::{check_footer, rows_at_a_time};

use crate::RecordError;

/// Most rows that are decoded at a time.
const BATCH: usize = 1024;

/// Most bytes of predictions in memory: those of some million questions.
const MOST_BYTES: usize = 1 << 29;

/// The prediction of a model for one question.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionRow {
    /// The question.
    pub key: ExampleKey,
    /// The letter of the option with the highest logit.
    pub choice: char,
    /// The logit of each option's letter at the answer position, in the order of the options.
    pub logits: Vec<f32>,
    /// Whether the answer's letter has the highest logit of the whole vocabulary there: the
    /// accuracy of Vaughn 2024.
    pub argmax_is_answer: bool,
    /// Mean loss of the prompt tokens in nats, if it was computed.
    pub prompt_loss: Option<f32>,
    /// Mean loss of the completion tokens in nats.
    pub completion_loss: Option<f32>,
    /// Loss of the answer token in nats.
    pub answer_loss: Option<f32>,
}

impl PredictionRow {
    /// Whether the chosen option is correct.
    pub fn is_correct(&self) -> bool {
        self.key.answer == Some(self.choice)
    }
}

/// Writes predictions in the given order, atomically. Columns: file, row, example_id, level,
/// answer, choice, logits (a list of float32), argmax_is_answer, prompt_loss, completion_loss,
/// answer_loss.
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

fn to_batch(predictions: &[PredictionRow]) -> Result<RecordBatch, ArrowError> {
    let text = |of: fn(&PredictionRow) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(predictions.iter().map(of)))
    };
    let letter = |of: fn(&PredictionRow) -> Option<char>| -> ArrayRef {
        let letters = predictions.iter().map(of);
        Arc::new(StringArray::from_iter_values(
            letters.map(|letter| letter.map(String::from).unwrap_or_default()),
        ))
    };
    let loss = |of: fn(&PredictionRow) -> Option<f32>| -> ArrayRef {
        Arc::new(predictions.iter().map(of).collect::<Float32Array>())
    };
    let rows = Int64Array::from_iter_values(predictions.iter().map(|p| p.key.row as i64));
    let logits = ListArray::from_iter_primitive::<Float32Type, _, _>(
        predictions
            .iter()
            .map(|p| Some(p.logits.iter().map(|&logit| Some(logit)))),
    );
    let argmax = BooleanArray::from_iter(predictions.iter().map(|p| Some(p.argmax_is_answer)));
    RecordBatch::try_from_iter([
        ("file", text(|p| &p.key.file)),
        ("row", Arc::new(rows) as ArrayRef),
        ("example_id", text(|p| &p.key.example_id)),
        ("level", text(|p| &p.key.level)),
        ("answer", letter(|p| p.key.answer)),
        ("choice", letter(|p| Some(p.choice))),
        ("logits", Arc::new(logits) as ArrayRef),
        ("argmax_is_answer", Arc::new(argmax) as ArrayRef),
        ("prompt_loss", loss(|p| p.prompt_loss)),
        ("completion_loss", loss(|p| p.completion_loss)),
        ("answer_loss", loss(|p| p.answer_loss)),
    ])
}

/// Reads predictions of [`write_predictions`], or another program's file with the same columns.
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

fn read_batch(
    path: &Path,
    batch: &RecordBatch,
    predictions: &mut Vec<PredictionRow>,
) -> Result<(), RecordError> {
    let column = |name: &'static str, data_type: DataType, may_be_null: bool| {
        let wrong = |problem: String| RecordError::Column {
            path: path.to_path_buf(),
            column: name,
            problem,
        };
        let found = batch
            .column_by_name(name)
            .ok_or_else(|| wrong("is missing".to_string()))?;
        let array = cast(found, &data_type).map_err(|error| wrong(error.to_string()))?;
        match (0..array.len()).find(|&row| array.is_null(row)) {
            Some(row) if !may_be_null => Err(wrong(format!(
                "is empty in row {}",
                predictions.len() + row
            ))),
            _ => Ok(array),
        }
    };
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Float32, true)));
    let files = column("file", DataType::Utf8, false)?;
    let rows = column("row", DataType::Int64, false)?;
    let example_ids = column("example_id", DataType::Utf8, false)?;
    let levels = column("level", DataType::Utf8, false)?;
    let answers = letters(path, "answer", &column("answer", DataType::Utf8, false)?)?;
    let choices = letters(path, "choice", &column("choice", DataType::Utf8, false)?)?;
    let logits = column("logits", list, false)?;
    let argmax = column("argmax_is_answer", DataType::Boolean, false)?;
    let prompt_losses = column("prompt_loss", DataType::Float32, true)?;
    let completion_losses = column("completion_loss", DataType::Float32, true)?;
    let answer_losses = column("answer_loss", DataType::Float32, true)?;

    let text = |array: &ArrayRef, row| array.as_string::<i32>().value(row).to_string();
    let loss = |array: &ArrayRef, row| {
        array
            .is_valid(row)
            .then(|| array.as_primitive::<Float32Type>().value(row))
    };
    predictions.extend((0..batch.num_rows()).map(|row| {
        let options = logits.as_list::<i32>().value(row);
        PredictionRow {
            key: ExampleKey {
                file: text(&files, row).into(),
                row: rows.as_primitive::<Int64Type>().value(row) as u64,
                example_id: text(&example_ids, row),
                level: text(&levels, row).into(),
                answer: Some(answers[row]),
            },
            choice: choices[row],
            logits: options.as_primitive::<Float32Type>().values().to_vec(),
            argmax_is_answer: argmax.as_boolean().value(row),
            prompt_loss: loss(&prompt_losses, row),
            completion_loss: loss(&completion_losses, row),
            answer_loss: loss(&answer_losses, row),
        }
    }));
    Ok(())
}

/// The letter in each row of a column of text.
fn letters(path: &Path, column: &'static str, texts: &ArrayRef) -> Result<Vec<char>, RecordError> {
    let letter = |text: Option<&str>| {
        let mut characters = text.unwrap_or_default().chars();
        match (characters.next(), characters.next()) {
            (Some(letter), None) => Ok(letter),
            _ => Err(RecordError::Column {
                path: path.to_path_buf(),
                column,
                problem: format!(
                    "holds {:?}, which is not a letter",
                    text.unwrap_or_default()
                ),
            }),
        }
    };
    texts.as_string::<i32>().iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn prediction(row: u64, logits: &[f32], prompt_loss: Option<f32>) -> PredictionRow {
        PredictionRow {
            key: ExampleKey {
                file: "middle/validation-00000-of-00001.parquet".into(),
                row,
                example_id: "middle1.txt".to_string(),
                level: "middle".into(),
                answer: Some('B'),
            },
            choice: 'A',
            logits: logits.to_vec(),
            argmax_is_answer: row.is_multiple_of(2),
            prompt_loss,
            completion_loss: Some(0.5),
            answer_loss: Some(1.5),
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
        ];
        write_predictions(&path, &rows)?;
        assert_eq!(read_predictions(&path)?, rows);
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
