//! The complete lines of a log, one at a time and none longer than a limit, whatever the file is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use plw_files::{FileError, MOST_SETTINGS, open_regular};

/// The most bytes of a line. A row has some hundreds, and more for each level of an evaluation.
const LONGEST_LINE: u64 = MOST_SETTINGS;

/// The lines of a log that end, with their ends. A half-written last one is left out.
pub(crate) struct Lines {
    path: PathBuf,
    /// None where the log does not exist, and after its end.
    input: Option<BufReader<File>>,
}

impl Lines {
    /// Opens a log. One that does not exist has no lines.
    pub(crate) fn of(path: &Path) -> Result<Self, FileError> {
        let input = match open_regular(path) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => None,
            opened => Some(BufReader::new(opened?)),
        };
        Ok(Self {
            path: path.to_path_buf(),
            input,
        })
    }

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(input) = &mut self.input else {
            return Ok(None);
        };
        let mut line = Vec::new();
        input.take(LONGEST_LINE + 1).read_until(b'\n', &mut line)?;
        if line.len() as u64 > LONGEST_LINE {
            return Err(too_long());
        }
        Ok(line.ends_with(b"\n").then_some(line))
    }
}

impl Iterator for Lines {
    type Item = Result<Vec<u8>, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read().map_err(FileError::cannot("read", &self.path));
        if !matches!(read, Ok(Some(_))) {
            self.input = None;
        }
        read.transpose()
    }
}

/// Cuts a half-written last line from a log, and goes to its end.
pub(crate) fn end_of_whole_lines(log: &mut File) -> io::Result<u64> {
    let length = log.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok(0);
    }
    log.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    log.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(length);
    }
    let start = length.saturating_sub(LONGEST_LINE);
    log.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    log.take(LONGEST_LINE).read_to_end(&mut tail)?;
    let end = match tail.iter().rposition(|&byte| byte == b'\n') {
        Some(newline) => start + newline as u64 + 1,
        None if start == 0 => 0,
        None => return Err(too_long()),
    };
    log.set_len(end)?;
    log.seek(SeekFrom::End(0))
}

fn too_long() -> io::Error {
    let problem = format!("it has a line of more than {LONGEST_LINE} bytes");
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
