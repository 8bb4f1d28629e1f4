//! `predictions.parquet`: damaged, or made to take more memory than there is.

use std::fs::{self, File};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::datatypes::Float32Type;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use plw_batch::ExampleKey;
use plw_mutate::{edited, edits, try_all, with_little_memory};
use plw_record::{PredictionRow, read_predictions, write_predictions};

use crate::readers;

pub(crate) fn good() -> Vec<PredictionRow> {
    // The last few are no questions.
    let row = |row| PredictionRow {
        key: ExampleKey {
            file: "middle/validation.parquet".into(),
            row,
            example_id: format!("middle{}.txt", row / 4),
            level: ["middle", "high"][row as usize % 2].into(),
            answer: (row < 9).then_some('B'),
        },
        choice: (row < 9).then(|| ['A', 'B'][row as usize % 2]),
        logits: match row {
            0..9 => vec![0.5, -1.0, row as f32, 2.0],
            _ => Vec::new(),
        },
        argmax_is_answer: row < 9 && row % 3 == 0,
        prompt_loss: Some(2.5),
        completion_loss: Some(0.5),
        answer_loss: None,
        completion_tokens: Some(row),
    };
    (0..12).map(row).collect()
}

#[test]
fn any_predictions_are_read_or_refused() {
    with_little_memory("predictions::any_predictions_are_read_or_refused", || {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("good.parquet");
        write_predictions(&path, &good()).expect("written");
        let good = fs::read(&path).expect("there");
        let constants: [&[u8]; 4] = [
            b"\x80\x80\x80\x80\x10",
            b"\xff\xff\xff\xff\x0f",
            b"\xff\xff\xff\x7f",
            b"\xc3",
        ];
        try_all(2000, edits(constants.len()), |edits| {
            // The first and last bytes stay: all else would be cut off at the first check.
            let end = good.len() - 8;
            let middle = edited(&good[4..end], &edits, &constants);
            readers::predictions(folder.path(), &[&good[..4], &middle, &good[end..]].concat())
        });
    });
}

/// A text of 20 MB that the file holds once, for each of 100 questions.
#[test]
fn predictions_that_grow_without_bound_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("predictions.parquet");
    let rows = 100;
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows])) };
    let losses: ArrayRef = Arc::new(Float32Array::from(vec![1.0; rows]));
    let logits = (0..rows).map(|_| Some([Some(1.0), Some(0.0)]));
    let columns: [(&str, ArrayRef); 11] = [
        ("file", text("a.parquet")),
        (
            "row",
            Arc::new(Int64Array::from_iter_values(0..rows as i64)),
        ),
        ("example_id", text(&"x".repeat(20 << 20))),
        ("level", text("high")),
        ("answer", text("A")),
        ("choice", text("A")),
        (
            "logits",
            Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(logits)),
        ),
        (
            "argmax_is_answer",
            Arc::new(BooleanArray::from(vec![true; rows])),
        ),
        ("prompt_loss", losses.clone()),
        ("completion_loss", losses.clone()),
        ("answer_loss", losses),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let properties = WriterProperties::builder().set_dictionary_page_size_limit(1 << 30);
    let file = File::create(&path).expect("made");
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
    drop(batch);
    let error = read_predictions(&path).expect_err("refused").to_string();
    assert!(
        error.contains("predictions.parquet") && error.contains("bytes of memory"),
        "{error}"
    );
}
