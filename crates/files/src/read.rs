//! Reading files of other people's making: regular files alone, and never more bytes than a limit.
//!
//! A device or a pipe under the name of a configuration would be read without end, and the length
//! that the system reports may be wrong (0 for the files of `/proc`), so both are checked here.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::FileError;

/// The most bytes of a file of settings, such as a `config.json`: 16 MiB.
pub const MOST_SETTINGS: u64 = 1 << 24;

/// Opens a file for reading, unless it is a directory, a device, a pipe or a socket. Opening a pipe
/// would wait for its other end.
///
/// # Errors
///
/// If there is no regular file, or the operating system refuses.
pub fn open_regular(path: impl AsRef<Path>) -> Result<File, FileError> {
    let path = path.as_ref();
    let opened = fs::metadata(path).and_then(|metadata| match metadata.file_type() {
        kind if kind.is_file() => File::open(path),
        kind if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(invalid("it is not a regular file".to_string())),
    });
    opened.map_err(FileError::cannot("read", path))
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
///
/// If there is no regular file, it holds more, or the operating system refuses.
pub fn read_bounded(path: impl AsRef<Path>, most: u64) -> Result<Vec<u8>, FileError> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    let read = open_regular(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes);
    read.and_then(|length| match length as u64 > most {
        true => Err(invalid(format!("it holds more than {most} bytes"))),
        false => Ok(bytes),
    })
    .map_err(FileError::cannot("read", path))
}

/// Reads a regular file of at most `most` bytes as UTF-8 text.
///
/// # Errors
///
/// As [`read_bounded`], and if the file is not UTF-8: the error says where.
pub fn read_text(path: impl AsRef<Path>, most: u64) -> Result<String, FileError> {
    let path = path.as_ref();
    String::from_utf8(read_bounded(path, most)?)
        .map_err(|error| invalid(format!("it is not text: {}", error.utf8_error())))
        .map_err(FileError::cannot("read", path))
}

pub(crate) fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_up_to_the_limit_are_read() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("config.json");
        fs::write(&path, "12345").expect("written");
        assert_eq!(read_text(&path, 5).expect("five bytes"), "12345");
        let message = |path: &Path, most| read_text(path, most).expect_err("refused").to_string();
        assert!(message(&path, 4).ends_with("config.json: it holds more than 4 bytes"));
        assert!(message(directory.path(), 4).contains("is a directory; a folder is where"));
        fs::write(&path, b"ab\xff").expect("written");
        assert!(message(&path, 4).contains("invalid utf-8 sequence of 1 bytes from index 2"));
    }

    #[test]
    #[cfg(unix)]
    fn devices_without_an_end_and_sparse_files_are_refused() {
        let device = read_text("/dev/zero", 4).expect_err("refused").to_string();
        assert_eq!(device, "cannot read /dev/zero: it is not a regular file");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("sparse");
        let file = File::create(&path).expect("made");
        file.set_len(1 << 40).expect("sparse");
        assert!(read_bounded(&path, MOST_SETTINGS).is_err());
    }
}
