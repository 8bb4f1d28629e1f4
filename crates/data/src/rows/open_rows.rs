//! Opens a data file of any format.

use std::fs::File;
use std::io::Read;

use super::arrow_file::ArrowFile;
use super::error::RowError;
use super::json_file::JsonFile;
use super::parquet_file::ParquetFile;
use super::regular_file::open_regular;
use super::row_file::{ChooseColumns, RowFile};
use super::separated_file::SeparatedFile;
use super::table_file::TableFile;
use super::text_file::TextFile;
use crate::files::{DataFile, ENDINGS_IN_WORDS, FileFormat};

/// Bytes that tell the format of a file whose name does not.
const FIRST_BYTES: u64 = 64;

/// Opens a file by its format.
pub(crate) fn open_rows(
    file: &DataFile,
    columns: ChooseColumns,
) -> Result<Box<dyn RowFile>, RowError> {
    let handle: File = open_regular(file)?;
    let mut first = Vec::new();
    let read = handle.take(FIRST_BYTES).read_to_end(&mut first);
    read.map_err(|source| RowError::Read {
        file: file.name.clone(),
        source,
    })?;
    let Some((format, compression)) = FileFormat::of(&file.path, &first) else {
        return Err(RowError::UnknownFormat {
            file: file.name.clone(),
            endings: ENDINGS_IN_WORDS,
        });
    };
    Ok(match format {
        FileFormat::Parquet => {
            let parquet = ParquetFile::open(file.clone(), columns)?;
            Box::new(TableFile::new(file.clone(), parquet))
        }
        FileFormat::Arrow => {
            let arrow = ArrowFile::open(file.clone(), columns)?;
            Box::new(TableFile::new(file.clone(), arrow))
        }
        FileFormat::Json => {
            let text = TextFile::open(file, compression)?;
            Box::new(JsonFile::open(file.clone(), text, columns)?)
        }
        FileFormat::Separated(delimiter) => {
            let text = TextFile::open(file, compression)?;
            Box::new(SeparatedFile::open(file.clone(), text, delimiter, columns)?)
        }
    })
}
