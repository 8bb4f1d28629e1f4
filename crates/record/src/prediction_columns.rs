//! The columns of `predictions.parquet`.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Int64Array, ListArray, RecordBatch,
    StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type};
use arrow::error::ArrowError;
use plw_batch::ExampleKey;

use crate::{PredictionRow, RecordError};

/// The columns of these predictions.
pub(crate) fn to_batch(predictions: &[PredictionRow]) -> Result<RecordBatch, ArrowError> {
    let text = |of: fn(&PredictionRow) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(predictions.iter().map(of)))
    };
    let letter = |of: fn(&PredictionRow) -> Option<char>| -> ArrayRef {
        let letters = predictions.iter().map(|p| of(p).map(String::from));
        Arc::new(letters.collect::<StringArray>())
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
    let argmax = predictions
        .iter()
        .map(|p| p.is_question().then_some(p.argmax_is_answer));
    let argmax = BooleanArray::from_iter(argmax);
    let tokens = predictions
        .iter()
        .map(|p| p.completion_tokens.map(|tokens| tokens as i64));
    let tokens = Int64Array::from_iter(tokens);
    RecordBatch::try_from_iter([
        ("file", text(|p| &p.key.file)),
        ("row", Arc::new(rows) as ArrayRef),
        ("example_id", text(|p| &p.key.example_id)),
        ("level", text(|p| &p.key.level)),
        ("answer", letter(|p| p.key.answer)),
        ("choice", letter(|p| p.choice)),
        ("logits", Arc::new(logits) as ArrayRef),
        ("argmax_is_answer", Arc::new(argmax) as ArrayRef),
        ("prompt_loss", loss(|p| p.prompt_loss)),
        ("completion_loss", loss(|p| p.completion_loss)),
        ("answer_loss", loss(|p| p.answer_loss)),
        ("completion_tokens", Arc::new(tokens) as ArrayRef),
    ])
}

/// Adds the predictions in a batch of rows. Errors name `path`, the file that it is from.
pub(crate) fn read_batch(
    path: &Path,
    batch: &RecordBatch,
    predictions: &mut Vec<PredictionRow>,
) -> Result<(), RecordError> {
    let columns = Columns {
        path,
        batch,
        rows_before: predictions.len(),
    };
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Float32, true)));
    let files = columns.full("file", DataType::Utf8)?;
    let rows = columns.full("row", DataType::Int64)?;
    let example_ids = columns.full("example_id", DataType::Utf8)?;
    let levels = columns.full("level", DataType::Utf8)?;
    let answers = columns.letters("answer")?;
    let choices = columns.letters("choice")?;
    let logits = columns.full("logits", list)?;
    let argmax = columns.of_type("argmax_is_answer", DataType::Boolean)?;
    let prompt_losses = columns.of_type("prompt_loss", DataType::Float32)?;
    let completion_losses = columns.of_type("completion_loss", DataType::Float32)?;
    let answer_losses = columns.of_type("answer_loss", DataType::Float32)?;
    let tokens = match batch.column_by_name("completion_tokens") {
        Some(_) => Some(columns.of_type("completion_tokens", DataType::Int64)?),
        None => None,
    };

    let text = |array: &ArrayRef, row| array.as_string::<i32>().value(row).to_string();
    let loss = |array: &ArrayRef, row| {
        array
            .is_valid(row)
            .then(|| array.as_primitive::<Float32Type>().value(row))
    };
    for row in 0..batch.num_rows() {
        let is_question = choices[row].is_some();
        if is_question != answers[row].is_some() {
            let column = if is_question { "answer" } else { "choice" };
            return Err(columns.empty(column, row));
        }
        if is_question && argmax.is_null(row) {
            return Err(columns.empty("argmax_is_answer", row));
        }
        let tokens = tokens.as_ref().filter(|tokens| tokens.is_valid(row));
        let options = logits.as_list::<i32>().value(row);
        predictions.push(PredictionRow {
            key: ExampleKey {
                file: text(&files, row).into(),
                row: rows.as_primitive::<Int64Type>().value(row) as u64,
                example_id: text(&example_ids, row),
                level: text(&levels, row).into(),
                answer: answers[row],
            },
            choice: choices[row],
            logits: options.as_primitive::<Float32Type>().values().to_vec(),
            argmax_is_answer: is_question && argmax.as_boolean().value(row),
            prompt_loss: loss(&prompt_losses, row),
            completion_loss: loss(&completion_losses, row),
            answer_loss: loss(&answer_losses, row),
            completion_tokens: match tokens {
                Some(tokens) => Some(columns.count(tokens, row)?),
                None => None,
            },
        });
    }
    Ok(())
}

/// The columns of a batch of rows, and where the batch is.
struct Columns<'a> {
    path: &'a Path,
    batch: &'a RecordBatch,
    /// Rows of the file before the batch.
    rows_before: usize,
}

impl Columns<'_> {
    fn wrong(&self, column: &'static str, problem: String) -> RecordError {
        RecordError::Column {
            path: self.path.to_path_buf(),
            column,
            problem,
        }
    }

    fn empty(&self, column: &'static str, row: usize) -> RecordError {
        self.wrong(
            column,
            format!("is empty in row {}", self.rows_before + row),
        )
    }

    /// A column of a type, whose values may be null.
    fn of_type(&self, name: &'static str, data_type: DataType) -> Result<ArrayRef, RecordError> {
        let found = self.batch.column_by_name(name);
        let found = found.ok_or_else(|| self.wrong(name, "is missing".to_string()))?;
        cast(found, &data_type).map_err(|error| self.wrong(name, error.to_string()))
    }

    /// A column of a type without nulls.
    fn full(&self, name: &'static str, data_type: DataType) -> Result<ArrayRef, RecordError> {
        let array = self.of_type(name, data_type)?;
        match (0..array.len()).find(|&row| array.is_null(row)) {
            Some(row) => Err(self.empty(name, row)),
            None => Ok(array),
        }
    }

    /// The letter in each row of a column of text; none where it is null.
    fn letters(&self, name: &'static str) -> Result<Vec<Option<char>>, RecordError> {
        let letter = |text: Option<&str>| {
            let Some(text) = text else {
                return Ok(None);
            };
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(letter), None) => Ok(Some(letter)),
                _ => Err(self.wrong(name, format!("holds {text:?}, which is not a letter"))),
            }
        };
        let texts = self.of_type(name, DataType::Utf8)?;
        texts.as_string::<i32>().iter().map(letter).collect()
    }

    /// The number of tokens in a row.
    fn count(&self, tokens: &ArrayRef, row: usize) -> Result<u64, RecordError> {
        let number = tokens.as_primitive::<Int64Type>().value(row);
        u64::try_from(number).map_err(|_| {
            self.wrong(
                "completion_tokens",
                format!("holds {number}, which is no number of tokens"),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn questions() -> [PredictionRow; 2] {
        [7, 8].map(|row| PredictionRow {
            key: ExampleKey {
                file: "middle/validation.parquet".into(),
                row,
                example_id: "middle1.txt".to_string(),
                level: "middle".into(),
                answer: Some('B'),
            },
            choice: Some('A'),
            logits: vec![0.5, row as f32],
            argmax_is_answer: false,
            prompt_loss: None,
            completion_loss: Some(0.5),
            answer_loss: Some(1.5),
            completion_tokens: Some(row),
        })
    }

    /// Reads the columns of the questions, each changed or left out.
    fn read_changed(
        change: impl Fn(&str, &ArrayRef) -> Option<ArrayRef>,
    ) -> Result<Vec<PredictionRow>, Box<dyn std::error::Error>> {
        let batch = to_batch(&questions())?;
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let changed = columns.filter_map(|(field, column)| {
            let column = change(field.name(), column)?;
            Some((field.name().clone(), column, true))
        });
        let batch = RecordBatch::try_from_iter_with_nullable(changed)?;
        let mut read = Vec::new();
        read_batch(Path::new("predictions.parquet"), &batch, &mut read)?;
        Ok(read)
    }

    #[test]
    fn files_of_earlier_versions_are_read() -> TestResult {
        let read =
            read_changed(|name, column| (name != "completion_tokens").then(|| column.clone()))?;
        let earlier = questions().map(|row| PredictionRow {
            completion_tokens: None,
            ..row
        });
        assert_eq!(read, earlier);
        Ok(())
    }

    #[test]
    fn half_a_question_is_refused_by_column() {
        let letters = |letter| -> ArrayRef { Arc::new(StringArray::from(vec![Some("A"), letter])) };
        let argmax = BooleanArray::from(vec![Some(true), None]);
        let tokens = Int64Array::from(vec![3, -1]);
        let cases: [(&str, ArrayRef, &str); 5] = [
            ("answer", letters(None), "is empty in row 1"),
            ("choice", letters(None), "is empty in row 1"),
            ("choice", letters(Some("")), "is not a letter"),
            ("argmax_is_answer", Arc::new(argmax), "is empty in row 1"),
            ("completion_tokens", Arc::new(tokens), "holds -1"),
        ];
        for (column, values, says) in cases {
            let read =
                read_changed(|name, own| Some(if name == column { &values } else { own }.clone()));
            let message = read.expect_err("refused").to_string();
            assert!(message.contains(says), "{message}");
            assert!(message.contains(&format!("column `{column}`")), "{message}");
        }
    }
}
