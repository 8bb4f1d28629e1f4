//! Files that are written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::FileError;
use crate::directory::{make_parent, sync_content, sync_directory};
use crate::partial::Partial;
use crate::read::open_regular;

/// Writes a file so that `path` names the old content or all of `bytes`. Creates missing parent
/// directories.
///
/// # Errors
///
/// If the operating system refuses. The old content then stays.
pub fn write_atomic(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<(), FileError> {
    let path = path.as_ref();
    write_atomic_with(path, |writer| {
        let written = writer.write_all(bytes.as_ref());
        written.map_err(FileError::cannot("write", path))
    })
}

/// Like [`write_atomic`], with the bytes from a closure. Returns what the closure returns.
///
/// # Errors
///
/// If the operating system refuses or the closure fails. The old content then stays.
pub fn write_atomic_with<T, E: From<FileError>>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T, E>,
) -> Result<T, E> {
    let path = path.as_ref();
    let parent = make_parent(path)?;
    let (partial, file) = Partial::claim(path, |candidate| {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(candidate)
    })?;
    let mut writer = BufWriter::new(file);
    let value = write(&mut writer)?;
    writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .map_err(FileError::cannot("write", &partial.path))?;
    fs::rename(&partial.path, path)
        .map_err(FileError::cannot("rename a finished file to", path))?;
    sync_directory(&parent)?;
    Ok(value)
}

/// Writes a value as indented JSON with a final newline, like [`write_atomic`].
///
/// # Errors
///
/// If the value has no JSON form, or the operating system refuses.
pub fn write_json_atomic(
    path: impl AsRef<Path>,
    value: &impl serde::Serialize,
) -> Result<(), FileError> {
    let path = path.as_ref();
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(io::Error::from)
        .map_err(FileError::cannot("write JSON to", path))?;
    bytes.push(b'\n');
    write_atomic(path, bytes)
}

/// Makes a file's content and its name durable: for files that grow, which cannot be written whole.
///
/// # Errors
///
/// If there is no such file, or the operating system refuses.
pub fn sync_file(path: impl AsRef<Path>) -> Result<(), FileError> {
    let path = path.as_ref();
    sync_content(path)?;
    sync_directory(&make_parent(path)?)
}

/// Copies a file's bytes, like [`write_atomic`]. The copy is a new file with a new file's
/// permissions: who may read it follows from the umask, not from the original.
///
/// # Errors
///
/// If the original is not a regular file, or the operating system refuses.
pub fn copy_atomic(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), FileError> {
    let from = from.as_ref();
    let mut file = open_regular(from)?;
    write_atomic_with(to, |writer| {
        let copied = io::copy(&mut file, writer);
        copied.map(drop).map_err(FileError::cannot("copy", from))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partial::names;

    /// Whatever the umask is, others may read results exactly where they may read other new files.
    #[test]
    #[cfg(unix)]
    fn permissions_are_those_of_any_new_file() -> Result<(), Box<dyn std::error::Error>> {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir()?;
        let [plain, written, secret, copy] =
            ["plain", "written", "secret", "copy"].map(|name| directory.path().join(name));
        File::create(&plain)?;
        write_atomic(&written, "")?;
        write_atomic(&secret, "1")?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
        copy_atomic(&secret, &copy)?;
        let mode = |path: &Path| fs::metadata(path).map(|file| file.permissions().mode());
        assert_eq!(mode(&written)?, mode(&plain)?);
        assert_eq!(mode(&copy)?, mode(&plain)?);
        assert_eq!(fs::read(&copy)?, b"1");
        Ok(())
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("summary.json");
        write_atomic(&path, "old")?;
        let failed = write_atomic_with(&path, |writer| -> Result<(), FileError> {
            let written = writer.write_all(b"half of the new");
            written.map_err(FileError::cannot("write", &path))?;
            Err(FileError::cannot("finish", &path)(
                io::ErrorKind::Other.into(),
            ))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path)?, b"old");
        assert_eq!(names(directory.path()), ["summary.json"]);
        write_atomic(&path, "new")?;
        assert_eq!(fs::read(&path)?, b"new");
        Ok(())
    }

    #[test]
    fn an_error_names_action_and_path() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("file");
        write_atomic(&file, "").expect("written");
        let below = file.join("below");
        let message = write_atomic(&below, "").expect_err("a file").to_string();
        assert!(message.contains("make the directory") && message.contains("file"));
    }
}
