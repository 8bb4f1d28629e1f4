//! Files that this crate writes, and pretraining texts.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use plw_data::{
    Question, ReadOptions, RowError, Source, Split, read_text, write_questions, write_text,
};

use crate::cases::{folder, read, skipping, write};

#[test]
fn written_questions_are_read_back() {
    let folder = folder();
    let path = folder
        .path()
        .join("new/middle/train-00000-of-00001.parquet");
    let example = |row: u64| Question {
        file: path.display().to_string().into(),
        row,
        example_id: format!("middle{row}.txt"),
        level: "middle".into(),
        article: Some(format!("Line {row}\n\u{1f408} \"quoted\"")),
        question: "What?".into(),
        options: (0..=row % 25 + 1)
            .map(|option| format!("option {option}"))
            .collect(),
        answer: (row % 2) as usize,
        columns: Default::default(),
    };
    let examples: Vec<Question> = (0..2500).map(example).collect();
    for _ in 0..2 {
        assert_eq!(write_questions(&path, &examples).expect("a file"), 2500);
        let read = read(folder.path().join("new"), &ReadOptions::default()).expect("good rows");
        assert!(read == examples);
    }
    let names: Vec<_> = std::fs::read_dir(path.parent().expect("a folder"))
        .expect("a folder")
        .collect();
    assert_eq!(names.len(), 1, "only the finished file is left: {names:?}");
}

#[test]
fn a_writer_that_fails_leaves_what_was_there() {
    let folder = folder();
    let path = folder.path().join("text.parquet");
    write_text(&path, ["first"]).expect("a file");
    let broken = (0..5000).map(|row| {
        if row < 3000 {
            "more"
        } else {
            panic!("the source broke")
        }
    });
    assert!(std::panic::catch_unwind(|| write_text(&path, broken)).is_err());
    let texts = read_text(
        &Source::Path(path),
        Split::Train,
        "text",
        &ReadOptions::default(),
    )
    .expect("a file");
    assert_eq!(
        texts
            .map(|text| text.expect("a text").text)
            .collect::<Vec<_>>(),
        ["first"]
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        1
    );
}

#[test]
fn texts_are_read_like_questions() {
    let folder = folder();
    let path = folder.path().join("train.parquet");
    let texts: ArrayRef = Arc::new(StringViewArray::from(vec![
        Some("a"),
        None,
        Some("b"),
        Some(""),
    ]));
    write(
        &path,
        vec![
            ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
            ("text", texts),
        ],
    );
    let source = Source::Path(folder.path().to_owned());
    let mut reader = read_text(&source, Split::Train, "text", &skipping()).expect("a file");
    assert_eq!(
        reader
            .by_ref()
            .map(|text| text.expect("a text"))
            .map(|text| (text.row, text.text))
            .collect::<Vec<_>>(),
        [(0, "a".to_owned()), (2, "b".to_owned())]
    );
    assert_eq!(
        reader.skipped().to_string(),
        "2 rows skipped: 1 because column `text` is null, 1 because column `text` is empty"
    );
    let strict: Vec<_> = read_text(&source, Split::Train, "text", &ReadOptions::default())
        .expect("a file")
        .collect();
    assert!(matches!(
        &strict[..],
        [Ok(_), Err(RowError::BadRow { row: 1, .. })]
    ));
    let missing = read_text(&source, Split::Train, "body", &skipping())
        .err()
        .expect("no such column")
        .to_string();
    assert!(
        missing.contains("`body`") && missing.contains("`text`"),
        "{missing}"
    );
}
