//! A file of Arrow's IPC, decoded message by message. A file (Feather) is a stream behind eight
//! bytes, so that both are read alike.

use std::fs::File;
use std::io::Read;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use plw_files::guarded;

use super::error::RowError;
use super::regular_file::open_regular;
use super::row_file::ChooseColumns;
use super::table_file::Batches;
use crate::files::DataFile;

/// What an IPC file begins with; a stream does not.
const MAGIC: &[u8] = b"ARROW1\0\0";

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// Bytes of the longest message: a batch of rows.
const LONGEST_MESSAGE: usize = 1 << 30;

/// An open file.
pub(crate) struct ArrowFile {
    file: DataFile,
    handle: File,
    decoder: StreamDecoder,
    chunk: Buffer,
    /// Bytes read since the last batch.
    pending: usize,
    columns: Vec<usize>,
    /// A batch that came before it was asked for.
    first: Option<RecordBatch>,
    ended: bool,
}

impl ArrowFile {
    /// Opens a file to read the columns that `columns` chooses.
    pub(crate) fn open(file: DataFile, columns: ChooseColumns) -> Result<Self, RowError> {
        let handle = open_regular(&file)?;
        let mut opened = Self {
            file,
            handle,
            decoder: StreamDecoder::new(),
            chunk: Buffer::from(Vec::<u8>::new()),
            pending: 0,
            columns: Vec::new(),
            first: None,
            ended: false,
        };
        opened.read_chunk()?;
        if opened.chunk.starts_with(MAGIC) {
            opened.chunk.advance(MAGIC.len());
        }
        opened.first = opened.decode_next()?;
        let Some(schema) = opened.decoder.schema() else {
            return Err(opened.damaged("it holds no schema".to_owned()));
        };
        opened.columns = columns(&opened.file, &schema)?;
        Ok(opened)
    }

    fn read_chunk(&mut self) -> Result<(), RowError> {
        let mut bytes = Vec::new();
        let read = self
            .handle
            .by_ref()
            .take(CHUNK as u64)
            .read_to_end(&mut bytes);
        let read = read.map_err(|source| RowError::Read {
            file: self.file.name.clone(),
            source,
        })?;
        self.pending += read;
        self.ended = read == 0;
        self.chunk = Buffer::from(bytes);
        Ok(())
    }

    fn decode_next(&mut self) -> Result<Option<RecordBatch>, RowError> {
        loop {
            let (decoder, chunk) = (&mut self.decoder, &mut self.chunk);
            let decoded = guarded(|| decoder.decode(chunk));
            let decoded = decoded.map_err(|panic| self.damaged(panic))?;
            match decoded {
                Ok(Some(batch)) => {
                    self.pending = self.chunk.len();
                    return Ok(Some(batch));
                }
                Ok(None) => {}
                // Behind the end of the stream an IPC file has a footer.
                Err(ArrowError::IpcError(_)) if self.decoder.finish().is_ok() => return Ok(None),
                Err(error) => return Err(self.damaged(error.to_string())),
            }
            if self.pending > LONGEST_MESSAGE {
                let problem = format!("a batch has more than {LONGEST_MESSAGE} bytes");
                return Err(self.damaged(problem));
            }
            self.read_chunk()?;
            if self.ended {
                let ended = self.decoder.finish();
                return ended
                    .map(|()| None)
                    .map_err(|e| self.damaged(e.to_string()));
            }
        }
    }

    fn damaged(&self, problem: String) -> RowError {
        RowError::Arrow {
            file: self.file.name.clone(),
            problem,
        }
    }
}

impl Batches for ArrowFile {
    fn next_batch(&mut self, _: u64, _: usize) -> Result<Option<RecordBatch>, RowError> {
        let batch = match self.first.take() {
            Some(batch) => Some(batch),
            None if self.ended => None,
            None => self.decode_next()?,
        };
        let chosen = batch.map(|batch| batch.project(&self.columns));
        chosen
            .transpose()
            .map_err(|error| self.damaged(error.to_string()))
    }
}
