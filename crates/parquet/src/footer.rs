//! Whether a file is parquet, by its first and last bytes, and whether its footer may be parsed:
//! the parser trusts the numbers of children in the schema. Reads no row.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use crate::thrift::{STRUCT, Thrift};

/// Bytes of the longest footer that is read. A usual one has a few hundred for each column of a row
/// group.
const LONGEST_FOOTER: u64 = 32 << 20;

/// How deep the columns of a schema may be nested.
const DEEPEST_SCHEMA: usize = 64;

/// The first and the last bytes of a parquet file.
const MAGIC: &[u8] = b"PAR1";

/// What is wrong with a file as a whole.
#[derive(Debug, thiserror::Error)]
pub enum FooterFault {
    /// It is not parquet: what it is instead, and what to do.
    #[error("it is not a parquet file: {0}")]
    NotParquet(&'static str),
    /// It is parquet, but cannot be parsed.
    #[error("{0}")]
    Footer(io::Error),
}

/// Checks the beginning and the footer of a file.
///
/// # Errors
///
/// If the file is not parquet, or its footer cannot be parsed in bounded memory.
pub fn check_footer(file: &File) -> Result<(), FooterFault> {
    let length = file.metadata().map_err(FooterFault::Footer)?.len();
    let beginning = bytes_at(file, 0, length.min(64))?;
    if length < 12 || !beginning.starts_with(MAGIC) {
        return Err(FooterFault::NotParquet(looks_like(&beginning)));
    }
    let end = bytes_at(file, length - 8, 8)?;
    if !end.ends_with(MAGIC) {
        return Err(FooterFault::NotParquet(looks_like(&beginning)));
    }
    let footer = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    if footer > LONGEST_FOOTER || footer > length - 12 {
        let problem = format!("its footer has {footer} bytes (at most {LONGEST_FOOTER} are read)");
        return Err(FooterFault::Footer(io::Error::other(problem)));
    }
    let bytes = reader_at(file, length - 8 - footer, footer)?;
    check_schema(bytes).map_err(FooterFault::Footer)
}

/// What a file that is not parquet seems to be, and what to do about it.
fn looks_like(beginning: &[u8]) -> &'static str {
    let text = beginning.trim_ascii_start();
    match text {
        [] => "it is empty: download or write it again",
        [b'{' | b'[', ..] => {
            "it looks like JSON: convert it, as with \
             `pandas.read_json(FILE, lines=True).to_parquet(NEW_FILE)`"
        }
        [b'<', ..] => "it looks like a web page: check the address that it was downloaded from",
        [0x1f, 0x8b, ..] => "it is compressed with gzip: unpack it first",
        _ if text.starts_with(b"version https://git-lfs") => {
            "it is a pointer of Git LFS: fetch the data with `git lfs pull`"
        }
        _ if text.starts_with(b"PARE") => "it is encrypted, which is not supported: decrypt it",
        _ if text.starts_with(MAGIC) => "its end is missing: download or write it again",
        _ => "convert it to parquet",
    }
}

fn bytes_at(file: &File, start: u64, length: u64) -> Result<Vec<u8>, FooterFault> {
    let mut bytes = Vec::new();
    let mut reader = reader_at(file, start, length)?;
    reader
        .read_to_end(&mut bytes)
        .map_err(FooterFault::Footer)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(FooterFault::Footer(io::ErrorKind::UnexpectedEof.into())),
    }
}

fn reader_at(mut file: &File, start: u64, length: u64) -> Result<impl Read, FooterFault> {
    file.seek(SeekFrom::Start(start))
        .map_err(FooterFault::Footer)?;
    Ok(BufReader::new(file.take(length)))
}

/// Checks that the schema of a footer is a tree of bounded depth. Its elements come depth first,
/// each with its number of children.
fn check_schema(footer: impl Read) -> io::Result<()> {
    const SCHEMA: i64 = 2;
    const CHILDREN: i64 = 5;
    let damaged = |problem| io::Error::new(io::ErrorKind::InvalidData, problem);
    let mut thrift = Thrift::new(footer);
    let mut last = 0;
    while let Some((number, kind)) = thrift.field(&mut last)? {
        if number != SCHEMA {
            thrift.skip(kind)?;
            continue;
        }
        let (elements, kind) = thrift.list()?;
        if kind != STRUCT {
            return Err(damaged("its schema is not a list of columns"));
        }
        // How many children the open groups still lack, the innermost last.
        let mut lacking: Vec<u64> = Vec::new();
        for element in 0..elements {
            let (mut last, mut children) = (0, 0);
            while let Some((number, kind)) = thrift.field(&mut last)? {
                match number {
                    CHILDREN => children = thrift.integer()?,
                    _ => thrift.skip(kind)?,
                }
            }
            let children = u64::try_from(children)
                .ok()
                .filter(|&children| children < elements - element)
                .ok_or_else(|| damaged("its schema has fewer columns than it says"))?;
            if let Some(lacking) = lacking.last_mut() {
                *lacking -= 1;
            }
            lacking.push(children);
            while lacking.last() == Some(&0) {
                lacking.pop();
            }
            if lacking.len() > DEEPEST_SCHEMA {
                return Err(damaged("its columns are nested too deep"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer with only a schema, of elements that have these numbers of children.
    fn footer(children: &[u32]) -> Vec<u8> {
        let varint = |mut value: u32, bytes: &mut Vec<u8>| {
            while value >= 0x80 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
        };
        // Field 2, a list of structs.
        let mut bytes = vec![0x29, 0xfc];
        varint(children.len() as u32, &mut bytes);
        for &children in children {
            // Field 5, an i32, in zigzag encoding; then the end of the struct.
            bytes.push(0x55);
            varint(children * 2, &mut bytes);
            bytes.push(0);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn schemas_are_trees_of_bounded_depth() {
        let chain = |length| [vec![1; length], vec![0]].concat();
        let cases: [(Vec<u32>, Option<&str>); 6] = [
            (vec![2, 0, 0], None),
            (vec![3, 1, 0, 0, 2, 0, 0], None),
            (chain(60), None),
            (chain(100), Some("nested too deep")),
            (vec![1 << 30, 0], Some("fewer columns than it says")),
            (vec![2, 0, 1], Some("fewer columns than it says")),
        ];
        for (children, expected) in cases {
            let problem = check_schema(footer(&children).as_slice()).err();
            let problem = problem.map(|problem| problem.to_string());
            match expected {
                None => assert_eq!(problem, None, "{children:?}"),
                Some(part) => assert!(
                    problem.as_ref().is_some_and(|told| told.contains(part)),
                    "{children:?}: {problem:?}"
                ),
            }
        }
    }
}
