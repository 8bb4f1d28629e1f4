//! Whether two folders hold the same results: every file to the last byte, but for what tells the
//! time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr};
use plw_record::step_of;
use serde_json::Value;

/// The end of the name of what is not finished.
const UNFINISHED: &str = ".partial";

/// The first difference between what undisturbed work left and what interrupted work did, but for
/// what lies under the `ignored` names. A run that was asked to stop may have left further
/// checkpoints.
pub(crate) fn difference(
    ignored: &[&str],
    expected: &Path,
    found: &Path,
) -> Result<Option<String>> {
    let is_compared = |name: &Path| !ignored.iter().any(|ignored| name.starts_with(ignored));
    let files = |folder: &Path| -> Result<BTreeMap<String, PathBuf>> {
        let mut files = files(folder)?;
        files.retain(|name, _| is_compared(Path::new(name)));
        Ok(files)
    };
    let left = unfinished(found);
    let below = |name: &&String| Path::new(name).strip_prefix(found).is_ok_and(is_compared);
    if let Some(name) = left.iter().find(below) {
        return Ok(Some(format!("{name} is left over")));
    }
    let (expected, found) = (files(expected)?, files(found)?);
    for (name, path) in &expected {
        let Some(other) = found.get(name) else {
            return Ok(Some(format!("{name} is missing")));
        };
        if comparable(path)? != comparable(other)? {
            return Ok(Some(format!("{name} differs")));
        }
    }
    let is_more = |name: &&String| !expected.contains_key(*name) && !is_in_checkpoint(name);
    let more = found.keys().find(is_more);
    Ok(more.map(|name| format!("{name} is left over")))
}

/// The names of unfinished files and folders at any depth.
pub(crate) fn unfinished(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    // What vanishes meanwhile is not unfinished any more.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.to_string_lossy().ends_with(UNFINISHED) {
            found.push(path.display().to_string());
        }
        if path.is_dir() {
            found.append(&mut unfinished(&path));
        }
    }
    found
}

/// The files at any depth, by their names relative to the folder. A lock holds nothing.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inner) = folders.pop() {
        let entries = fs::read_dir(&inner).into_diagnostic();
        for entry in entries.wrap_err_with(|| format!("cannot list {}", inner.display()))? {
            let path = entry.into_diagnostic()?.path();
            let name = path.strip_prefix(folder).unwrap_or(&path);
            let name = name.to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.ends_with(".lock") {
                found.insert(name, path);
            }
        }
    }
    Ok(found)
}

fn is_in_checkpoint(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let is_checkpoint = |pair: &[&str]| pair[0] == "checkpoints" && step_of(pair[1]).is_some();
    parts.windows(2).any(is_checkpoint)
}

/// What of a file is compared: its bytes, and of JSON the values that do not tell the time.
pub(crate) fn comparable(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).into_diagnostic();
    let bytes = bytes.wrap_err_with(|| format!("cannot read {}", path.display()))?;
    let extension = path.extension().unwrap_or_default();
    let lines = match extension.to_str() {
        Some("json") => vec![bytes.as_slice()],
        Some("jsonl") => bytes.split_inclusive(|&byte| byte == b'\n').collect(),
        _ => return Ok(bytes),
    };
    let mut compared = Vec::new();
    for line in lines {
        match serde_json::from_slice(line) {
            Ok(value) => compared.extend(without_times(value).to_string().bytes()),
            // Damaged lines are compared as they are.
            Err(_) => compared.extend(line),
        }
        compared.push(b'\n');
    }
    Ok(compared)
}

fn without_times(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, _)| !tells_time(key));
            Value::Object(
                kept.map(|(key, value)| (key, without_times(value)))
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_times).collect()),
        other => other,
    }
}

/// Times, speeds, memory, how much of the work one process did, and the digests over these: a
/// record's own, and those of logs, by their names.
fn tells_time(key: &str) -> bool {
    key == "seconds"
        || key.starts_with("timed_")
        || key.ends_with("_per_second")
        || key.ends_with(".jsonl")
        || ["peak_memory_bytes", "device_memory_bytes", "digest"].contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_and_times_are_none() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [expected, found] = ["expected", "found"].map(|name| directory.path().join(name));
        let write = |folder: &Path, name: &str, text: &str| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        };
        for (folder, seconds) in [(&expected, 1.5), (&found, 2.5)] {
            let last = format!(r#"{{"seconds": {seconds}, "loss": 0.5}}"#);
            let state = format!(r#"{{"last": {last}, "files": {{"a.jsonl": "{seconds}"}}}}"#);
            write(folder, "checkpoints/step-2/state.json", &state);
            write(
                folder,
                "metrics.jsonl",
                &format!("{{\"seconds\":{seconds},\"step\":1}}\n"),
            );
            write(folder, "weights", "bits");
        }
        write(&found, ".lock", "");
        write(&found, "checkpoints/step-3/state.json", "{}");
        let told = || difference(&[], &expected, &found).expect("read");
        assert_eq!(told(), None);
        for (name, text, says) in [
            ("weights", "bitz", "weights differs"),
            (
                "metrics.jsonl",
                "{\"seconds\":1,\"step\":2}\n",
                "metrics.jsonl differs",
            ),
            (
                "metrics.jsonl",
                "{\"step\":1}\n{\"st",
                "metrics.jsonl differs",
            ),
        ] {
            let before = fs::read(found.join(name)).expect("there");
            write(&found, name, text);
            assert_eq!(told().as_deref(), Some(says));
            fs::write(found.join(name), before).expect("written");
        }
        write(&found, "more", "");
        assert_eq!(told().as_deref(), Some("more is left over"));
        fs::create_dir_all(found.join("checkpoints/.step-4.1-0.partial")).expect("made");
        assert!(told().is_some_and(|told| told.ends_with("partial is left over")));
    }
}
