//! JSON files that tell whether they, or files beside them, were changed: one key has a digest of
//! each file, and the last key the digest of all others.

use std::io;
use std::path::{Component, Path};

use serde_json::{Map, Value};

use crate::FileError;
use crate::digest::{digest, digest_file};
use crate::file::write_json_atomic;
use crate::read::{MOST_SETTINGS, invalid, read_bounded};

/// The key with the digest of each file, by its path from a folder.
const FILES: &str = "files";
/// The key with the digest of the others.
const DIGEST: &str = "digest";

const OTHER: &str = "it is not as it was written: its digest is another";

/// Whether a JSON file has digests that were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// It is as it was written.
    ByDigests,
    /// It was written without digests.
    WithoutDigests,
}

/// Writes a JSON object with digests of itself and of `files`, which are named by their paths from
/// `folder`. Atomically, as [`write_json_atomic`] does.
///
/// # Errors
///
/// If a file cannot be read, or the operating system refuses.
pub fn write_sealed(
    path: impl AsRef<Path>,
    mut keys: Map<String, Value>,
    folder: impl AsRef<Path>,
    files: impl IntoIterator<Item = String>,
) -> Result<(), FileError> {
    let path = path.as_ref();
    let digests = files.into_iter().map(|name| -> Result<_, FileError> {
        let digest = digest_file(folder.as_ref().join(&name))?;
        Ok((name, Value::from(digest)))
    });
    let digests: Map<String, Value> = digests.collect::<Result<_, FileError>>()?;
    keys.insert(FILES.to_string(), Value::Object(digests));
    let own = digest_of(&keys, path)?;
    keys.insert(DIGEST.to_string(), Value::from(own));
    write_json_atomic(path, &keys)
}

/// Reads a JSON object and compares it with its own digest, if it has one. The files that it has
/// digests of are compared by [`check_sealed_files`].
///
/// # Errors
///
/// If it is not as it was written, is no JSON object, or cannot be read.
pub fn read_sealed(path: impl AsRef<Path>) -> Result<(Map<String, Value>, Verified), FileError> {
    let path = path.as_ref();
    let problem = |text: String| FileError::cannot("read", path)(invalid(text));
    let bytes = read_bounded(path, MOST_SETTINGS)?;
    let mut keys: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|error| problem(error.to_string()))?;
    match keys.shift_remove(DIGEST) {
        Some(own) if own == digest_of(&keys, path)? => Ok((keys, Verified::ByDigests)),
        Some(_) => Err(problem(OTHER.to_string())),
        None if keys.contains_key(FILES) => Err(problem("its digest is missing".to_string())),
        None => Ok((keys, Verified::WithoutDigests)),
    }
}

/// Compares the wanted files with the digests that a sealed object has of them. Other files change
/// nothing.
///
/// # Errors
///
/// If a file is missing or not as it was written, or a name leads out of the folder.
pub fn check_sealed_files(
    keys: &Map<String, Value>,
    folder: impl AsRef<Path>,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), FileError> {
    let files = keys.get(FILES).and_then(Value::as_object);
    let files = files.into_iter().flatten();
    for (name, written) in files {
        let mut parts = Path::new(name).components();
        if name.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            let problem = format!("it names {name:?}, which is not a file of this folder");
            return Err(FileError::cannot("read", folder.as_ref())(invalid(problem)));
        }
        if !wanted(name) {
            continue;
        }
        let path = folder.as_ref().join(name);
        let now = digest_file(&path).map_err(|error| match error.source.kind() {
            io::ErrorKind::NotFound => {
                FileError::cannot("read", &path)(invalid("the file is missing".to_string()))
            }
            _ => error,
        })?;
        if written.as_str() != Some(&now) {
            return Err(FileError::cannot("read", &path)(invalid(OTHER.to_string())));
        }
    }
    Ok(())
}

fn digest_of(keys: &Map<String, Value>, path: &Path) -> Result<String, FileError> {
    let bytes = serde_json::to_vec(keys).map_err(io::Error::from);
    bytes
        .map(digest)
        .map_err(FileError::cannot("write JSON to", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_changed_bit_of_a_sealed_file_is_noticed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [path, rows] = ["summary.json", "rows"].map(|name| directory.path().join(name));
        fs::write(&rows, "1 2 3").expect("written");
        let keys = Map::from_iter([("accuracy".to_string(), Value::from(0.25))]);
        let seal = || write_sealed(&path, keys.clone(), &directory, ["rows".to_string()]);
        let check = || {
            let (found, verified) = read_sealed(&path)?;
            check_sealed_files(&found, &directory, |_| true)?;
            assert_eq!(found["accuracy"], keys["accuracy"]);
            Ok::<_, FileError>(verified)
        };
        seal().expect("written");
        assert_eq!(check().expect("whole"), Verified::ByDigests);
        for file in [&path, &rows] {
            let whole = fs::read(file).expect("there");
            for bit in 0..8 * whole.len() {
                let mut changed = whole.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                fs::write(file, &changed).expect("written");
                let error = check().expect_err("changed").to_string();
                let name = file.file_name().and_then(|name| name.to_str());
                assert!(error.contains(name.expect("a name")), "{error}");
            }
            fs::write(file, whole).expect("written");
        }
        fs::remove_file(&rows).expect("there");
        let error = check().expect_err("gone").to_string();
        assert!(error.ends_with("rows: the file is missing"), "{error}");
        fs::write(&path, "{\"accuracy\": 0.5}").expect("written");
        let (_, verified) = read_sealed(&path).expect("an earlier version wrote such files");
        assert_eq!(verified, Verified::WithoutDigests);
    }
}
