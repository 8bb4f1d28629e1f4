//! A file of text, packed or not, read in bounded pieces.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;

use super::error::RowError;
use super::regular_file::open_regular;
use super::text_beginning::not_text;
use crate::files::{Compression, DataFile};

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 18;

/// The mark that some programs put at the beginning of a file of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The unpacked bytes of a file, and the number of the line that is read.
pub(crate) struct TextFile {
    bytes: BufReader<Box<dyn Read + Send>>,
    /// From 1.
    line: u64,
}

impl TextFile {
    pub(crate) fn open(file: &DataFile, compression: Compression) -> Result<Self, RowError> {
        let handle: File = open_regular(file)?;
        let failed = |source| RowError::Read {
            file: file.name.clone(),
            source,
        };
        let bytes: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(handle),
            Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(handle))),
            Compression::Zstandard => Box::new(zstd::Decoder::new(handle).map_err(failed)?),
        };
        let mut bytes = BufReader::with_capacity(CHUNK, bytes);
        let beginning = bytes.fill_buf().map_err(failed)?;
        if let Some(what) = not_text(beginning) {
            return Err(RowError::NotText {
                file: file.name.clone(),
                what,
            });
        }
        if beginning.starts_with(BYTE_ORDER_MARK) {
            bytes.consume(BYTE_ORDER_MARK.len());
        }
        Ok(Self { bytes, line: 1 })
    }

    /// The number of the line that the next byte is on, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// The next byte that is not white space, which stays unread.
    pub(crate) fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            let buffer = self.bytes.fill_buf()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let space = buffer.iter().take_while(|byte| byte.is_ascii_whitespace());
            let space = space.count();
            let next = buffer.get(space).copied();
            self.skip(space);
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    /// The bytes in the buffer, which is filled first if it is empty.
    pub(crate) fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.bytes.fill_buf()
    }

    /// Takes bytes that are in the buffer.
    pub(crate) fn skip(&mut self, count: usize) {
        let lines = self.bytes.buffer()[..count]
            .iter()
            .filter(|&&byte| byte == b'\n');
        self.line += lines.count() as u64;
        self.bytes.consume(count);
    }

    /// Reads a line without its end into `line`. False if it has more than `longest` bytes; then
    /// the rest of it is skipped.
    pub(crate) fn read_line(&mut self, line: &mut Vec<u8>, longest: usize) -> io::Result<bool> {
        line.clear();
        let mut fits = true;
        loop {
            let buffer = self.bytes.fill_buf()?;
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let length = end.unwrap_or(buffer.len());
            fits &= line.len() + length <= longest;
            if fits {
                line.extend_from_slice(&buffer[..length]);
            }
            let ended = end.is_some() || buffer.is_empty();
            self.skip(length + usize::from(end.is_some()));
            if ended {
                return Ok(fits);
            }
        }
    }
}

impl Read for TextFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let buffer = self.bytes.fill_buf()?;
        let count = buffer.len().min(into.len());
        into[..count].copy_from_slice(&buffer[..count]);
        self.skip(count);
        Ok(count)
    }
}
