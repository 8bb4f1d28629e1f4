//! Reading and writing hold a batch of rows, not the file. Each is measured in its own process,
//! since a peak cannot be reset: the test runs its own binary again with [`TASK`] set.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use plw_data::{
    ColumnOptions, Example, Question, ReadOptions, Source, Split, read_examples, read_text,
    write_questions,
};

/// The peak memory of the process in MB; `None` if the system does not report it.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024)
}

/// 4 KB of text that no two rows share.
fn passage(row: u64) -> String {
    let mut state = row;
    let mut word = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        format!("{:x} ", state >> 24)
    };
    std::iter::repeat_with(&mut word).take(400).collect()
}

const TASK: &str = "PLW_MEMORY_TASK";

/// 140 MB of text as one row group, as other programs often write.
fn write_one_group(path: &Path) {
    let column = |rows| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows)) };
    let batch = |first: u64| {
        let texts = column((first..first + 1000).map(passage));
        RecordBatch::try_from_iter([("text", texts)]).expect("a batch")
    };
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch(0).schema(), None).expect("a writer");
    for first in 0..40 {
        writer.write(&batch(first * 1000)).expect("rows");
    }
    assert_eq!(writer.close().expect("a footer").num_row_groups(), 1);
}

/// 300 rows of one text of 3 MB, which the file holds once, in a dictionary.
fn write_repeated(path: &Path) {
    let text = passage(0).repeat(3 << 20 >> 12);
    let texts: ArrayRef = Arc::new(StringArray::from(vec![text.as_str(); 300]));
    let batch = RecordBatch::try_from_iter([("text", texts)]).expect("a batch");
    let properties = WriterProperties::builder()
        .set_dictionary_page_size_limit(1 << 30)
        .set_compression(Compression::ZSTD(Default::default()));
    let file = std::fs::File::create(path).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
    assert!(std::fs::metadata(path).expect("a file").len() < 100_000);
}

/// Rows of about 100 bytes: 4 million in lines, and 1.6 million as an array and as CSV.
fn write_short_rows(folder: &Path) {
    let file = |name: &str| {
        let file = std::fs::File::create(folder.join(name)).expect("a file");
        std::io::BufWriter::new(file)
    };
    let (mut lines, mut array, mut table) = (file("a.jsonl"), file("a.json"), file("a.csv"));
    let mut write = |row: u64| -> std::io::Result<()> {
        let (prompt, completion) = (row.wrapping_mul(0x9e37_79b9_7f4a_7c15), row % 97);
        let prompt = format!("What comes behind {prompt:020} in the list of numbers that we have?");
        let row_of_json = format!(r#"{{"prompt":"{prompt}","completion":"It is {completion}."}}"#);
        writeln!(lines, "{row_of_json}")?;
        if row < 1_600_000 {
            writeln!(array, "{}{row_of_json}", if row == 0 { "[" } else { "," })?;
            let head = if row == 0 { "prompt,completion\n" } else { "" };
            writeln!(table, "{head}\"{prompt}\",\"It is \n{completion}.\"")?;
        }
        Ok(())
    };
    (0..4_000_000).try_for_each(&mut write).expect("a disk");
    writeln!(array, "]").expect("a disk");
}

/// Does one task and returns the bytes of text that went through it.
fn run(task: &str, folder: &Path) -> usize {
    let questions = folder.join("train.parquet");
    let texts = folder.join("texts.parquet");
    let repeated = folder.join("repeated.parquet");
    let example = |row| Question {
        file: "".into(),
        row,
        example_id: format!("high{row}.txt"),
        level: String::new(),
        article: Some(passage(row)),
        question: "Which?".into(),
        options: vec!["this".into(), "that".into()],
        answer: 1,
        columns: Default::default(),
    };
    let options = ReadOptions::default();
    match task {
        "write questions" => {
            let bytes = std::cell::Cell::new(0);
            let counted = (0..50_000)
                .map(example)
                .inspect(|e| bytes.set(bytes.get() + e.article.as_ref().map_or(0, String::len)));
            write_questions(&questions, counted).expect("a file");
            bytes.get()
        }
        "read questions" => {
            let reader = read_examples(
                &Source::Path(questions),
                Split::Train,
                &ColumnOptions::default(),
                &options,
            )
            .expect("a file");
            reader
                .filter_map(|row| row.expect("a good row").question()?.article)
                .map(|article| article.len())
                .sum()
        }
        file if file.starts_with("a.") => {
            let reader = read_examples(
                &Source::Path(folder.join(file)),
                Split::Train,
                &ColumnOptions::default(),
                &options,
            )
            .expect("a file");
            let bytes = reader.map(|row| match row.expect("a good row") {
                Example::Conversation(row) => {
                    let texts = row.turns.iter().filter_map(|turn| turn.content());
                    texts.map(str::len).sum::<usize>()
                }
                Example::Question(_) => 0,
            });
            bytes.sum()
        }
        _ => {
            let path = if task == "read texts" {
                texts
            } else {
                repeated
            };
            let reader =
                read_text(&Source::Path(path), Split::Train, "text", &options).expect("a file");
            reader.map(|row| row.expect("a good row").text.len()).sum()
        }
    }
}

#[test]
fn memory_is_bounded_by_the_batch_not_the_file() {
    if let Some(task) = std::env::var_os(TASK) {
        let (folder, task) = (
            std::env::current_dir().expect("a folder"),
            task.into_string().expect("a task"),
        );
        let before = peak().expect("asked by the parent");
        let megabytes = run(&task, &folder) >> 20;
        let taken = peak().expect("asked by the parent") - before;
        println!("{task}: {megabytes} MB of text took {taken} MB");
        assert!(
            megabytes > 120 && taken < 48,
            "{task}: {megabytes} MB of text took {taken} MB"
        );
        return;
    }
    if peak().is_none() {
        println!("skipped: no /proc/self/status here");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_one_group(&folder.path().join("texts.parquet"));
    write_repeated(&folder.path().join("repeated.parquet"));
    write_short_rows(folder.path());
    for task in [
        "write questions",
        "read questions",
        "read texts",
        "read a repeated text",
        "a.jsonl",
        "a.json",
        "a.csv",
    ] {
        let mut child = Command::new(std::env::current_exe().expect("this binary"));
        let child = child
            .arg("--nocapture")
            .env(TASK, task)
            .current_dir(folder.path());
        let output = child.output().expect("this binary runs");
        print!("{}", String::from_utf8_lossy(&output.stdout));
        assert!(
            output.status.success(),
            "{task}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
