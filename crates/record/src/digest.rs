//! What files hold, as a short text: two runs' inputs are the same if their digests are.

use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::RecordError;

/// The SHA-256 of a file, 64 hexadecimal digits. The file is read in pieces, not held.
///
/// # Errors
///
/// Where the file cannot be read.
pub fn digest_file(path: impl AsRef<Path>) -> Result<String, RecordError> {
    let path = path.as_ref();
    let mut digest = Writer(Sha256::new());
    File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut digest))
        .map_err(RecordError::io("read", path))?;
    Ok(hexadecimal(&digest.0.finalize()))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
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

    #[test]
    fn a_file_has_the_digest_that_sha256sum_prints() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").expect("written");
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            digest_file(&path).expect("read"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let missing = digest_file(folder.path().join("none")).expect_err("nothing is there");
        assert!(missing.to_string().contains("none"), "{missing}");
    }
}
