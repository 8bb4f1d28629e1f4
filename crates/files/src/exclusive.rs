//! Files that are made once: the first writer has the name, and everybody else learns that it is
//! taken.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::FileError;
use crate::directory::{make_parent, sync_directory};
use crate::partial::Partial;
use crate::read::read_bounded;

/// Writes a file under a name that is free, whole or not at all, and says whether it did. Creates
/// missing parent directories.
///
/// Of several processes, on several machines that share the directory, one gets the name: the file
/// is written under a temporary one and linked, which network file systems do atomically too. Their
/// answer may be lost and the call repeated, which then finds the name taken by itself. So a name
/// that holds just these bytes counts as ours, and no two writers may have the same bytes.
///
/// # Errors
///
/// If the operating system refuses, or the file system has no hard links.
pub fn write_new(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<bool, FileError> {
    let (path, bytes) = (path.as_ref(), bytes.as_ref());
    let parent = make_parent(path)?;
    let (partial, mut file) = Partial::claim(path, |candidate| {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(candidate)
    })?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(FileError::cannot("write", &partial.path))?;
    let linked = fs::hard_link(&partial.path, path);
    let is_ours = match &linked {
        Ok(()) => true,
        Err(_) => read_bounded(path, bytes.len() as u64).is_ok_and(|found| found == bytes),
    };
    match linked {
        Err(error) if !is_ours && error.kind() != io::ErrorKind::AlreadyExists => {
            Err(FileError::cannot("link", path)(error))
        }
        _ => {
            sync_directory(&parent)?;
            Ok(is_ours)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partial::names;

    #[test]
    fn one_of_many_writers_gets_the_name() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        for round in 0..50 {
            let path = directory.path().join(format!("{round:03}"));
            let writers: Vec<String> = (0..4).map(|writer| format!("writer {writer}")).collect();
            let got = std::thread::scope(|scope| {
                let started: Vec<_> = writers
                    .iter()
                    .map(|text| {
                        scope.spawn({
                            let path = &path;
                            move || write_new(path, text)
                        })
                    })
                    .collect();
                let ended = started.into_iter().map(|thread| thread.join());
                ended
                    .map(|got| got.expect("no panic"))
                    .collect::<Result<Vec<_>, _>>()
            })?;
            let winners: Vec<&String> = std::iter::zip(&writers, &got)
                .filter_map(|(text, &got)| got.then_some(text))
                .collect();
            assert_eq!(winners.len(), 1, "{got:?}");
            assert_eq!(&fs::read_to_string(&path)?, winners[0]);
            assert!(write_new(&path, winners[0])?, "a lost answer is no loss");
            assert!(!write_new(&path, "another")?);
        }
        assert_eq!(names(directory.path()).len(), 50, "nothing is left behind");
        Ok(())
    }
}
