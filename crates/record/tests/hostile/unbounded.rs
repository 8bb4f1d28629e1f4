//! Records that are devices without an end, or files of more bytes than there is memory.

#![cfg(unix)]

use std::fs::{self, File};
use std::path::Path;

use plw_mutate::with_little_memory;
use plw_record::{
    RecordError, RunConfig, RunDirectory, append_metrics, latest_checkpoint, read_evaluations,
    read_metrics, read_predictions,
};

use crate::metrics;

type Reader = fn(&Path) -> Result<(), RecordError>;

const READERS: [(&str, Reader); 6] = [
    ("config.toml", |path| RunConfig::read(path).map(drop)),
    ("summary.json", |path| {
        let folder = path.parent().expect("a folder");
        RunDirectory::new(folder).read_summary().map(drop)
    }),
    ("metrics.jsonl", |path| read_metrics(path).map(drop)),
    ("evaluations.jsonl", |path| read_evaluations(path).map(drop)),
    ("predictions.parquet", |path| {
        read_predictions(path).map(drop)
    }),
    ("latest", |path| {
        latest_checkpoint(path.parent().expect("a folder")).map(drop)
    }),
];

#[test]
fn records_without_an_end_are_refused() {
    with_little_memory("unbounded::records_without_an_end_are_refused", || {
        for (name, read) in READERS {
            let folder = tempfile::tempdir().expect("a temporary directory");
            let path = folder.path().join(name);
            std::os::unix::fs::symlink("/dev/zero", &path).expect("linked");
            let error = read(&path).expect_err(name).to_string();
            assert!(
                error.contains(name) && error.contains("it is not a regular file"),
                "{error}"
            );
            fs::remove_file(&path).expect("there");
            let file = File::create(&path).expect("made");
            file.set_len(1 << 40).expect("sparse");
            let error = read(&path).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    });
}

#[test]
fn nothing_is_appended_to_a_log_with_a_giant_line() {
    with_little_memory(
        "unbounded::nothing_is_appended_to_a_log_with_a_giant_line",
        || {
            let folder = tempfile::tempdir().expect("a temporary directory");
            let path = folder.path().join("metrics.jsonl");
            let file = File::create(&path).expect("made");
            file.set_len(1 << 40).expect("sparse");
            let error = append_metrics(&path, &metrics(1)).expect_err("refused");
            let error = error.to_string();
            assert!(
                error.contains("metrics.jsonl") && error.contains("a line of more than"),
                "{error}"
            );
            assert_eq!(file.metadata().expect("there").len(), 1 << 40);
        },
    );
}
