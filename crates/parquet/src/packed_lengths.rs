//! Pages that hold the lengths of their texts as packed differences (DELTA_LENGTH_BYTE_ARRAY and
//! DELTA_BYTE_ARRAY). The parquet library allocates as many lengths as such a page says, so the
//! pages of these rare encodings are decompressed once more to count them first.
//!
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/>

use std::fs::File;
use std::io;
use std::sync::Arc;

use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::SerializedPageReader;

use crate::thrift::Thrift;

/// Most texts of a page.
const MOST_TEXTS: u64 = 1 << 24;

/// The numbers of these encodings in the header of a page.
pub(crate) const ENCODINGS: [i64; 2] = [6, 7];

/// Checks that no page of a column says that it holds more texts than it can.
pub(crate) fn check_lengths(file: &File, column: &ColumnChunkMetaData) -> io::Result<()> {
    let failed = |error: ParquetError| io::Error::other(error);
    let file = Arc::new(file.try_clone()?);
    for page in SerializedPageReader::new(file, column, 0, None).map_err(failed)? {
        let page = page.map_err(failed)?;
        let levels = levels(&page, column)?;
        let values = page.buffer().get(levels..).ok_or_else(too_long)?;
        let mut values = Thrift::new(values);
        match page.encoding() {
            Encoding::DELTA_LENGTH_BYTE_ARRAY => {
                Packed::read(&mut values, page.num_values())?;
            }
            Encoding::DELTA_BYTE_ARRAY => {
                // The lengths of shared beginnings, and those of the rest.
                Packed::read(&mut values, page.num_values())?.skip(&mut values)?;
                Packed::read(&mut values, page.num_values())?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The bytes of a page before its values: its repetition and definition levels.
fn levels(page: &Page, column: &ColumnChunkMetaData) -> io::Result<usize> {
    match page {
        Page::DictionaryPage { .. } => Ok(0),
        Page::DataPageV2 {
            def_levels_byte_len,
            rep_levels_byte_len,
            ..
        } => Ok(*def_levels_byte_len as usize + *rep_levels_byte_len as usize),
        Page::DataPage { buf, .. } => {
            let column = column.column_descr();
            let mut start = 0;
            for most in [column.max_rep_level(), column.max_def_level()] {
                if most > 0 {
                    let length = buf.get(start..start + 4).ok_or_else(too_long)?;
                    let length = length.iter().rev();
                    let length = length.fold(0, |sum, &byte| sum << 8 | usize::from(byte));
                    start += 4 + length;
                }
            }
            Ok(start)
        }
    }
}

/// The header of packed numbers.
struct Packed {
    numbers: u64,
    /// Parts of a block, each of which has a width of its own.
    parts: u64,
    /// How many numbers each part holds.
    in_part: u64,
}

impl Packed {
    /// Reads the header of at most `most` numbers.
    fn read(input: &mut Thrift<&[u8]>, most: u32) -> io::Result<Self> {
        let (block, parts, numbers) = (input.unsigned()?, input.unsigned()?, input.unsigned()?);
        if numbers > u64::from(most).min(MOST_TEXTS) || parts == 0 || parts > 1 << 10 {
            return Err(too_long());
        }
        let in_part = (block / parts).max(1);
        Ok(Self {
            numbers,
            parts,
            in_part,
        })
    }

    /// Skips the first number, and blocks of differences: the least of them, and their parts.
    fn skip(self, input: &mut Thrift<&[u8]>) -> io::Result<()> {
        input.unsigned()?;
        let mut left = self.numbers.saturating_sub(1);
        while left > 0 {
            input.unsigned()?;
            let widths = (0..self.parts).map(|_| input.byte());
            for width in widths.collect::<io::Result<Vec<u8>>>()? {
                if left > 0 {
                    input.skip_bytes(u64::from(width).saturating_mul(self.in_part) / 8)?;
                    left = left.saturating_sub(self.in_part);
                }
            }
        }
        Ok(())
    }
}

fn too_long() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a page has fewer texts than it says",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_numbers_are_counted_before_they_are_believed() {
        // Blocks of 128 in 4 parts; the first number; for each block the least difference and four
        // widths, then 32 differences for each part of which a number is left.
        let one_block: &[u8] = &[0x80, 1, 4, 40, 0, 0, 0, 8, 0, 0];
        let whole = [one_block, &[7; 32], &[9]].concat();
        let two_blocks: &[u8] = &[0x80, 1, 4, 0x82, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 9];
        let cases: [(&[u8], u32, bool); 7] = [
            (&whole, 40, true),
            (&whole, 39, false),
            (&whole[..whole.len() - 20], 40, false),
            (two_blocks, 200, true),
            // 2^35 numbers, no part, and 2^21 parts.
            (
                &[0x80, 1, 4, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0],
                u32::MAX,
                false,
            ),
            (&[0x80, 1, 0, 5, 0], 40, false),
            (&[0x80, 1, 0x80, 0x80, 0x80, 1, 5, 0], 40, false),
        ];
        for (bytes, most, is_right) in cases {
            let mut input = Thrift::new(bytes);
            let skipped = Packed::read(&mut input, most).and_then(|packed| packed.skip(&mut input));
            assert_eq!(skipped.is_ok(), is_right, "{bytes:?}: {skipped:?}");
            if is_right {
                assert_eq!(input.byte().ok(), Some(9), "{bytes:?}");
            }
        }
    }
}
