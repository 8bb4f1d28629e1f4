//! What decoding a row group takes, by the headers of its pages. They are read before the parquet
//! library decodes any page: it allocates what a header says, and decompresses as much as it finds.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use parquet::basic::{Compression, Type};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use crate::packed_lengths;
use crate::thrift::Thrift;

/// Bytes of pages in memory at a time: the largest dictionary and data page of each column,
/// together.
pub const LARGEST_PAGES: u64 = 256 << 20;

/// Items of all lists of a column in a row group. One row may hold them all.
pub const MOST_LIST_ITEMS: u64 = 1 << 24;

/// How many bytes one byte of gzip or LZ4 may become: the most that deflate can reach.
const LARGEST_RATIO: u64 = 1032;

/// Why a row group cannot be decoded in bounded memory.
#[derive(Debug, thiserror::Error)]
pub enum PageFault {
    /// A page cannot be decoded at all.
    #[error("{0}")]
    Damaged(#[from] io::Error),
    /// The pages are too large together; this column's are the largest.
    #[error("its pages are too large: column `{column}` needs {bytes} bytes of {LARGEST_PAGES}")]
    LargePages {
        /// The column's name.
        column: String,
        /// Bytes of its largest dictionary and page.
        bytes: u64,
    },
    /// The lists of a column have too many items together.
    #[error("column `{column}` has lists of {items} items (at most {MOST_LIST_ITEMS} are read)")]
    LongLists {
        /// The column's name.
        column: String,
        /// Items of all its lists.
        items: u64,
    },
}

/// How many rows of a group may be decoded at a time, from 1 to `most`, by the pages of these leaf
/// columns. A batch of n rows holds on to at most n + 1 pages of a column.
///
/// # Errors
///
/// If no number of rows is small enough, or a page cannot be decoded at all.
pub fn rows_at_a_time(
    file: &File,
    group: &RowGroupMetaData,
    leaves: impl Iterator<Item = usize>,
    most: usize,
) -> Result<usize, PageFault> {
    let mut together = 0u64;
    let mut largest = (String::new(), 0);
    for leaf in leaves {
        let column = group.column(leaf);
        let name = || column.column_path().parts().first().cloned();
        let pages = Pages::of(file, column)?;
        if column.column_descr().max_rep_level() > 0 && pages.values > MOST_LIST_ITEMS {
            return Err(PageFault::LongLists {
                column: name().unwrap_or_default(),
                items: pages.values,
            });
        }
        let bytes = pages.dictionary.saturating_add(pages.largest);
        together = together.saturating_add(bytes);
        if bytes > largest.1 {
            largest = (name().unwrap_or_default(), bytes);
        }
    }
    if together > LARGEST_PAGES {
        let (column, bytes) = largest;
        return Err(PageFault::LargePages { column, bytes });
    }
    let pages = 2 * LARGEST_PAGES / together.max(1);
    Ok(usize::try_from(pages - 1).unwrap_or(most).min(most).max(1))
}

/// The pages of a column in a row group.
#[derive(Default)]
struct Pages {
    /// Bytes of its dictionary.
    dictionary: u64,
    /// Bytes of its largest other page.
    largest: u64,
    /// Values of all pages, nulls among them.
    values: u64,
}

impl Pages {
    /// Goes from header to header as the parquet library does.
    fn of(file: &File, column: &ColumnChunkMetaData) -> Result<Self, PageFault> {
        let (mut at, length) = column.byte_range();
        let end = at.checked_add(length);
        let end = end
            .filter(|&end| file.metadata().is_ok_and(|of| end <= of.len()))
            .ok_or_else(|| damaged("a column goes beyond its end"))?;
        let mut pages = Self::default();
        let mut has_packed_lengths = false;
        while at < end {
            let (header, length) = PageHeader::read(reader_at(file, at, end - at)?)?;
            at += length;
            let compressed = size(header.compressed, "page")?;
            let bytes = size(header.uncompressed, "page")?;
            let values = size(header.values, "number of values")?;
            if compressed > end - at {
                return Err(damaged("a page goes beyond its column").into());
            }
            check_decompressed(file, at, &header, column.compression())?;
            if header.kind == PageHeader::DICTIONARY {
                check_dictionary(values, bytes, column)?;
                pages.dictionary = pages.dictionary.max(bytes);
            } else {
                pages.largest = pages.largest.max(bytes);
                pages.values = pages.values.saturating_add(values);
            }
            has_packed_lengths |= packed_lengths::ENCODINGS.contains(&header.encoding);
            at += compressed;
        }
        if has_packed_lengths && pages.dictionary.max(pages.largest) <= LARGEST_PAGES {
            packed_lengths::check_lengths(file, column)?;
        }
        Ok(pages)
    }
}

/// The header of a page, as far as it says what decoding takes.
#[derive(Default)]
struct PageHeader {
    kind: i64,
    uncompressed: i64,
    compressed: i64,
    values: i64,
    encoding: i64,
    /// Bytes before the values that are never compressed.
    levels: i64,
}

impl PageHeader {
    const DICTIONARY: i64 = 2;

    /// The header, and its own length.
    fn read(input: impl Read) -> io::Result<(Self, u64)> {
        let mut header = Self::default();
        let mut thrift = Thrift::new(input);
        let mut last = 0;
        while let Some((number, kind)) = thrift.field(&mut last)? {
            match number {
                1 => header.kind = thrift.integer()?,
                2 => header.uncompressed = thrift.integer()?,
                3 => header.compressed = thrift.integer()?,
                // A data page, a dictionary, a data page of version 2.
                5 | 7 | 8 => header.read_inner(&mut thrift, number)?,
                _ => thrift.skip(kind)?,
            }
        }
        Ok((header, thrift.read()))
    }

    fn read_inner(&mut self, thrift: &mut Thrift<impl Read>, outer: i64) -> io::Result<()> {
        let mut last = 0;
        while let Some((number, kind)) = thrift.field(&mut last)? {
            match (outer, number) {
                (_, 1) => self.values = thrift.integer()?,
                (5, 2) | (8, 4) => self.encoding = thrift.integer()?,
                (8, 5 | 6) => self.levels = self.levels.saturating_add(thrift.integer()?),
                _ => thrift.skip(kind)?,
            }
        }
        Ok(())
    }
}

/// A dictionary's values are allocated by their number, which its bytes must allow.
fn check_dictionary(
    values: u64,
    bytes: u64,
    column: &ColumnChunkMetaData,
) -> Result<(), PageFault> {
    let shortest = match column.column_type() {
        Type::FIXED_LEN_BYTE_ARRAY => column.column_descr().type_length().max(1),
        _ => 4,
    };
    match values.saturating_mul(shortest as u64) > bytes {
        true => Err(damaged("a dictionary has fewer values than it says").into()),
        false => Ok(()),
    }
}

/// The library decompresses gzip and LZ4 to their end, whatever the header says of their length: a
/// page that might exceed all bounds is decompressed here first, and thrown away.
fn check_decompressed(
    file: &File,
    start: u64,
    header: &PageHeader,
    compression: Compression,
) -> Result<(), PageFault> {
    let compressed = size(header.compressed, "page")?;
    let levels = size(header.levels, "page")?;
    if compressed.saturating_mul(LARGEST_RATIO) <= LARGEST_PAGES || levels > compressed {
        return Ok(());
    }
    let page = reader_at(file, start + levels, compressed - levels)?;
    let values: Box<dyn Read> = match compression {
        Compression::GZIP(_) => Box::new(MultiGzDecoder::new(page)),
        Compression::LZ4 => Box::new(FrameDecoder::new(page)),
        _ => return Ok(()),
    };
    let expected = size(header.uncompressed, "page")?.saturating_sub(levels);
    // What cannot be decompressed is an error of the library's.
    let length = io::copy(&mut values.take(expected + 1), &mut io::sink()).unwrap_or(0);
    match length > expected {
        true => Err(damaged("a page is longer than it says").into()),
        false => Ok(()),
    }
}

fn size(size: i64, of: &str) -> Result<u64, PageFault> {
    u64::try_from(size).map_err(|_| damaged(&format!("a {of} is negative")).into())
}

fn damaged(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

fn reader_at(mut file: &File, start: u64, length: u64) -> io::Result<impl Read> {
    file.seek(SeekFrom::Start(start))?;
    Ok(BufReader::new(file.take(length)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use flate2::write::GzEncoder;
    use parquet::schema::parser::parse_message_type;
    use parquet::schema::types::SchemaDescriptor;

    use super::*;

    const DATA: i64 = 0;
    const DICTIONARY: i64 = PageHeader::DICTIONARY;
    const MIB: i64 = 1 << 20;

    /// A page: its kind, what its header says of its bytes uncompressed and compressed and of its
    /// values, and its body.
    type Page = (i64, i64, i64, i64, Vec<u8>);

    fn header(&(kind, uncompressed, compressed, values, _): &Page) -> Vec<u8> {
        let mut bytes = Vec::new();
        let integer = |number: i64, bytes: &mut Vec<u8>| {
            let mut zigzag = (number << 1 ^ number >> 63) as u64;
            bytes.push(0x15);
            while zigzag >= 0x80 {
                bytes.push(zigzag as u8 | 0x80);
                zigzag >>= 7;
            }
            bytes.push(zigzag as u8);
        };
        for number in [kind, uncompressed, compressed] {
            integer(number, &mut bytes);
        }
        // Field 5 or 7, a struct.
        bytes.push(if kind == DICTIONARY { 0x4c } else { 0x2c });
        integer(values, &mut bytes);
        bytes.extend([0, 0]);
        bytes
    }

    fn rows(pages: &[Page], compression: Compression) -> Result<usize, PageFault> {
        let mut file = tempfile::tempfile().expect("a temporary file");
        for page in pages {
            file.write_all(&header(page)).expect("written");
            file.write_all(&page.4).expect("written");
        }
        let length = file.metadata().expect("a file").len() as i64;
        let message = "message m { optional group options (LIST) {
            repeated group list { optional binary element (UTF8); } } }";
        let message = parse_message_type(message).expect("a schema");
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(message)));
        let column = ColumnChunkMetaData::builder(schema.column(0))
            .set_compression(compression)
            .set_data_page_offset(0)
            .set_total_compressed_size(length)
            .build()
            .expect("a column");
        let group = RowGroupMetaData::builder(schema)
            .set_column_metadata(vec![column])
            .build()
            .expect("a row group");
        rows_at_a_time(&file, &group, 0..1, 256)
    }

    #[test]
    fn batches_are_as_small_as_their_pages_are_large() {
        let page = |kind, bytes, values| (kind, bytes, 2, values, vec![0; 2]);
        let small = page(DATA, 100, 10);
        for (pages, expected) in [
            (vec![], 256),
            (vec![small.clone(), small.clone()], 256),
            (vec![page(DATA, MIB, 10), small.clone()], 256),
            (vec![small.clone(), page(DATA, 10 * MIB, 10)], 50),
            (
                vec![page(DICTIONARY, 5 * MIB, 10), page(DATA, 5 * MIB, 10)],
                50,
            ),
            (vec![page(DATA, 200 * MIB, 10)], 1),
        ] {
            assert!(matches!(rows(&pages, Compression::SNAPPY), Ok(rows) if rows == expected));
        }
    }

    #[test]
    fn pages_that_would_take_too_much_are_refused() {
        let page = |kind, bytes, values| (kind, bytes, 2, values, vec![0; 2]);
        let fault = |pages: &[Page]| rows(pages, Compression::SNAPPY).err();
        for bytes in [257 * MIB, i64::from(i32::MAX), i64::MAX] {
            let told = fault(&[page(DATA, bytes, 10)]);
            let Some(PageFault::LargePages { column, bytes: of }) = told else {
                panic!("{told:?}")
            };
            assert_eq!((column.as_str(), of), ("options", bytes as u64));
        }
        let together = [page(DICTIONARY, 200 * MIB, 10), page(DATA, 100 * MIB, 10)];
        assert!(matches!(
            fault(&together),
            Some(PageFault::LargePages { .. })
        ));
        // The items of a row may be spread over pages.
        let lists = [
            page(DATA, 100, 1 << 23),
            page(DATA, 100, 1 << 23),
            page(DATA, 100, 1),
        ];
        assert!(fault(&lists[..2]).is_none());
        assert!(matches!(fault(&lists), Some(PageFault::LongLists { .. })));
    }

    #[test]
    fn headers_that_cannot_be_true_are_refused() {
        let damaged = |page: Page, compression| {
            let told = rows(std::slice::from_ref(&page), compression);
            assert!(matches!(told, Err(PageFault::Damaged(_))), "{told:?}");
        };
        for page in [
            (DATA, -1, 2, 10, vec![0; 2]),
            (DATA, 100, -1, 10, vec![0; 2]),
            (DATA, 100, 2, -1, vec![0; 2]),
            (DATA, 100, 3, 10, vec![0; 2]),
            (DATA, 100, i64::MAX, 10, vec![0; 2]),
            // A dictionary of 100 bytes has at most 25 texts.
            (DICTIONARY, 100, 2, 26, vec![0; 2]),
        ] {
            damaged(page, Compression::SNAPPY);
        }
        // 400 KB that gzip cannot make smaller, and a header that says 1000 bytes.
        let mut state = 1u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let noise: Vec<u8> = noise.take(400_000).collect();
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&noise).expect("compressed");
        let body = encoder.finish().expect("compressed");
        let gzip = Compression::GZIP(Default::default());
        let page = |bytes| (DATA, bytes, body.len() as i64, 10, body.clone());
        damaged(page(1000), gzip);
        assert!(rows(&[page(400_000)], gzip).is_ok());
    }
}
