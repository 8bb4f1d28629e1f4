//! The ETag of a file: the name of its content in the cache and, for what the hub stores, its
//! digest.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use plw_files::digest_file;
use sha1::{Digest, Sha1};

use crate::error::HubError;
use crate::names::is_name;

/// An ETag that may be the name of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Etag(String);

/// What an ETag says about the content.
enum Kind {
    /// The SHA-256 digest, of a file in git LFS.
    Sha256,
    /// The SHA-1 digest of git's blob, of a file in git. Some mirrors have that of the file itself.
    Sha1,
    /// No more than that two contents differ.
    Opaque,
}

impl Etag {
    /// The ETag in the value of a header, without quotes. The error completes a sentence that
    /// begins with the address.
    pub(crate) fn from_header(value: &str) -> Result<Self, String> {
        let etag = value.trim_start_matches("W/").trim_matches('"');
        // Beside a blob lie its unfinished part and, for Python, hidden files.
        let is_other_file = etag.starts_with('.') || etag.ends_with(".incomplete");
        if is_name(etag) && etag.len() <= 128 && !is_other_file {
            Ok(Self(etag.to_owned()))
        } else {
            Err(format!(
                "sends the ETag {value:?}, which cannot be the name of a file"
            ))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the content can be checked.
    pub(crate) fn is_digest(&self) -> bool {
        !matches!(self.kind(), Kind::Opaque)
    }

    fn kind(&self) -> Kind {
        let is_hexadecimal = self.0.chars().all(|c| c.is_ascii_hexdigit());
        match self.0.len() {
            64 if is_hexadecimal => Kind::Sha256,
            40 if is_hexadecimal => Kind::Sha1,
            _ => Kind::Opaque,
        }
    }

    /// Whether a file has the content that the ETag stands for; true if it does not tell.
    pub(crate) fn fits(&self, path: &Path) -> Result<bool, HubError> {
        let digests = match self.kind() {
            Kind::Sha256 => vec![digest_file(path)?],
            Kind::Sha1 => sha1_digests(path).map_err(HubError::cache(path))?.to_vec(),
            Kind::Opaque => return Ok(true),
        };
        Ok(digests
            .iter()
            .any(|digest| digest.eq_ignore_ascii_case(&self.0)))
    }
}

/// The SHA-1 digests of git's blob and of the file.
fn sha1_digests(path: &Path) -> io::Result<[String; 2]> {
    let mut file = File::open(path)?;
    let header = format!("blob {}\0", file.metadata()?.len());
    let mut digests = [Sha1::new_with_prefix(header), Sha1::new()];
    let mut buffer = [0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => digests
                .iter_mut()
                .for_each(|digest| digest.update(&buffer[..read])),
        }
    }
    Ok(digests.map(|digest| {
        digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_the_name_of_a_file_or_refused() {
        for (value, etag) in [
            ("\"0a1b\"", "0a1b"),
            ("W/\"0a1b\"", "0a1b"),
            ("0a-1b.c_d", "0a-1b.c_d"),
        ] {
            let parsed = Etag::from_header(value).expect(value);
            assert_eq!(parsed.as_str(), etag);
        }
        let long = "a".repeat(129);
        for value in [
            "",
            "\"\"",
            ".",
            "..",
            "\"../../x\"",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "a b",
            ".hidden",
            "0a.incomplete",
            "é",
            "a:b",
            &long,
        ] {
            let problem = Etag::from_header(value).expect_err(value);
            assert!(problem.contains("ETag"), "{problem}");
        }
    }

    #[test]
    fn digests_are_those_of_git_and_sha256sum() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("abc");
        std::fs::write(&path, "abc").expect("written");
        for (etag, is_digest, fits) in [
            // What sha256sum, `git hash-object` and sha1sum print for it.
            (
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                true,
                true,
            ),
            ("f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", true, true),
            ("A9993E364706816ABA3E25717850C26C9CD0D89D", true, true),
            (
                "aa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                true,
                false,
            ),
            ("a2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", true, false),
            ("5f3c-opaque", false, true),
        ] {
            let etag = Etag::from_header(etag).expect(etag);
            assert_eq!(etag.is_digest(), is_digest, "{etag:?}");
            assert_eq!(etag.fits(&path).expect("readable"), fits, "{etag:?}");
        }
    }
}
