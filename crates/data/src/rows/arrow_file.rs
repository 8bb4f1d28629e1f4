//! A file of Arrow's IPC, decoded message by message. A file (Feather) is a stream behind eight
//! bytes, so that both are read alike.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

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

/// What an IPC file ends with.
const END: &[u8] = b"ARROW1";

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
    /// Rows that are decoded and were not yet asked for.
    rest: Option<RecordBatch>,
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
            rest: None,
            ended: false,
        };
        opened.read_chunk()?;
        if opened.chunk.starts_with(MAGIC) {
            opened.chunk.advance(MAGIC.len());
            // Some writers begin the first message at the next multiple of 64 bytes.
            while opened.chunk.starts_with(&[0; 8]) {
                opened.chunk.advance(8);
            }
            if !opened.ends_as_file()? {
                return Err(opened.damaged("its end is missing".to_owned()));
            }
        }
        opened.rest = opened.decode_next()?;
        let Some(schema) = opened.decoder.schema() else {
            return Err(opened.damaged("it holds no schema".to_owned()));
        };
        opened.columns = columns(&opened.file, &schema)?;
        Ok(opened)
    }

    /// Whether the last bytes are those of a file. A batch that is missing would else go unnoticed.
    fn ends_as_file(&mut self) -> Result<bool, RowError> {
        let mut end = [0; END.len()];
        let mut read_end = || -> io::Result<()> {
            let position = self.handle.stream_position()?;
            self.handle.seek(SeekFrom::End(-(END.len() as i64)))?;
            self.handle.read_exact(&mut end)?;
            self.handle.seek(SeekFrom::Start(position)).map(drop)
        };
        read_end().map_err(|source| RowError::Read {
            file: self.file.name.clone(),
            source,
        })?;
        Ok(end == END)
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
    /// Batches of a file may be long, and what they are converted to takes memory too.
    fn next_batch(&mut self, _: u64, batch_size: usize) -> Result<Option<RecordBatch>, RowError> {
        let batch = match self.rest.take() {
            Some(batch) => batch,
            None if self.ended => return Ok(None),
            None => match self.decode_next()? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        let rows = batch.num_rows().min(batch_size);
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        let chosen = batch.slice(0, rows).project(&self.columns);
        chosen
            .map(Some)
            .map_err(|error| self.damaged(error.to_string()))
    }
}
