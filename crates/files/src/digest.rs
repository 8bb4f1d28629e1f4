//! The SHA-256 digest of bytes and files, as text: equal digests mean equal content.

use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::FileError;
use crate::read::open_regular;

/// The SHA-256 digest of `bytes`, 64 hexadecimal digits.
pub fn digest(bytes: impl AsRef<[u8]>) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The SHA-256 digest of a regular file, 64 hexadecimal digits. Reads the file in pieces.
///
/// # Errors
///
/// If the file cannot be read, or is a device or a pipe, which may have no end.
pub fn digest_file(path: impl AsRef<Path>) -> Result<String, FileError> {
    digest_start(path, u64::MAX)
}

/// The digest of the first `bytes` bytes of a regular file, or of all where it holds fewer, as
/// [`digest_file`] computes it.
///
/// # Errors
///
/// As [`digest_file`].
pub fn digest_start(path: impl AsRef<Path>, bytes: u64) -> Result<String, FileError> {
    let path = path.as_ref();
    let mut digest = Writer(Sha256::new());
    let mut file = open_regular(path)?.take(bytes);
    io::copy(&mut file, &mut digest).map_err(FileError::cannot("read", path))?;
    Ok(hexadecimal(&digest.0.finalize()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Writer(Sha256);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1; also what `sha256sum` prints.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn bytes_and_files_have_the_digest_that_sha256sum_prints() {
        assert_eq!(digest("abc"), ABC);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("abc");
        std::fs::write(&path, "abc").expect("written");
        assert_eq!(digest_file(&path).expect("read"), ABC);
        std::fs::write(&path, "abcd").expect("written");
        assert_eq!(digest_start(&path, 3).expect("read"), ABC);
        assert_ne!(digest_start(&path, 2).expect("read"), ABC);
        let missing = digest_file(directory.path().join("none")).expect_err("nothing is there");
        assert!(missing.to_string().contains("none"), "{missing}");
    }
}
