//! A file of encoded rows: frames of rows, each with a digest, and a last one that says how many
//! there were.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::Arc;

use plw_batch::{Answer, ExampleKey, Role, Segment, Sequence};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::encoded_row::EncodedRow;
use super::reading::Reading;

/// What a file begins with. Another version of the format has another number.
const MAGIC: &[u8; 16] = b"plw tokens 1\n\0\0\0";

/// Rows of a frame.
const FRAME: usize = 512;

/// Bytes of the longest frame.
const LONGEST_FRAME: u32 = 1 << 30;

/// Frames that are decoded at a time, on all threads.
const FRAMES: usize = 16;

/// A part of a file.
#[derive(Serialize, Deserialize)]
enum Frame {
    /// The names of the data files, first of all.
    Files(Vec<String>),
    Rows(Vec<Row>),
    /// The end of the file.
    End {
        rows: u64,
        reading: Reading,
    },
}

/// An encoded row as it is stored.
#[derive(Serialize, Deserialize)]
struct Row {
    /// The index of its data file.
    file: u32,
    row: u64,
    example_id: String,
    level: String,
    letter: Option<char>,
    passage: Option<[u8; 16]>,
    token_ids: Vec<u32>,
    segments: Segments,
    answer: Option<(u32, Vec<u32>, u32)>,
}

#[derive(Serialize, Deserialize)]
enum Segments {
    /// A prompt of so many tokens, and a completion.
    Prompt(u32),
    /// Whether it is a completion, its weight, and its end.
    Any(Vec<(bool, f64, u32)>),
}

/// Writes a file of encoded rows.
pub(crate) struct TokenWriter<W: Write> {
    output: BufWriter<W>,
    files: Vec<Arc<str>>,
    rows: Vec<Row>,
    /// Rows and tokens so far.
    written: u64,
    tokens: u64,
}

impl<W: Write> TokenWriter<W> {
    /// Begins a file of the rows of these data files.
    pub(crate) fn new(output: W, files: Vec<Arc<str>>) -> io::Result<Self> {
        let mut writer = Self {
            output: BufWriter::with_capacity(1 << 20, output),
            files,
            rows: Vec::new(),
            written: 0,
            tokens: 0,
        };
        writer.output.write_all(MAGIC)?;
        let names = writer.files.iter().map(|name| name.to_string());
        let names = Frame::Files(names.collect());
        writer.write(&names)?;
        Ok(writer)
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.tokens
    }

    pub(crate) fn add(&mut self, row: &EncodedRow) -> io::Result<()> {
        let file = self.files.iter().position(|name| *name == row.key.file);
        let file = file.ok_or_else(|| io::Error::other("the row is of an unknown file"))?;
        self.tokens += row.sequence.len() as u64;
        self.rows.push(Row::of(row, file as u32));
        match self.rows.len() {
            FRAME => self.write_rows(),
            _ => Ok(()),
        }
    }

    fn write_rows(&mut self) -> io::Result<()> {
        self.written += self.rows.len() as u64;
        let frame = Frame::Rows(std::mem::take(&mut self.rows));
        self.write(&frame)
    }

    fn write(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = postcard::to_stdvec(frame).map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.output.write_all(&length.to_le_bytes())?;
        self.output.write_all(&Sha256::digest(&bytes))?;
        self.output.write_all(&bytes)
    }

    /// Ends the file.
    pub(crate) fn finish(mut self, reading: &Reading) -> io::Result<W> {
        self.write_rows()?;
        let end = Frame::End {
            rows: self.written,
            reading: reading.clone(),
        };
        self.write(&end)?;
        self.output.into_inner().map_err(|error| error.into_error())
    }
}

/// A file of encoded rows that was checked to be whole.
pub(crate) struct TokenReader {
    input: BufReader<File>,
    files: Vec<Arc<str>>,
    reading: Reading,
}

impl TokenReader {
    /// Opens a file and checks all of it, so that reading it cannot fail in the middle.
    pub(crate) fn open(file: File) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(1 << 20, file);
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(damaged("it is of another version"));
        }
        let mut files = None;
        let mut rows = 0;
        loop {
            let frames = read_frames(&mut input)?;
            for frame in decoded(frames)? {
                match frame {
                    Frame::Files(names) => files = Some(names),
                    Frame::Rows(of_frame) => rows += of_frame.len() as u64,
                    Frame::End {
                        rows: told,
                        reading,
                    } if told == rows => {
                        let files = files.ok_or_else(|| damaged("it names no data file"))?;
                        let mut file = input.into_inner();
                        io::Seek::rewind(&mut file)?;
                        let mut input = BufReader::with_capacity(1 << 20, file);
                        input.read_exact(&mut magic)?;
                        return Ok(Self {
                            input,
                            files: files.into_iter().map(Arc::from).collect(),
                            reading,
                        });
                    }
                    Frame::End { .. } => return Err(damaged("rows are missing")),
                }
            }
        }
    }

    /// Hands all rows to `take`, in order.
    pub(crate) fn read(mut self, mut take: impl FnMut(EncodedRow)) -> io::Result<Reading> {
        loop {
            for frame in decoded(read_frames(&mut self.input)?)? {
                match frame {
                    Frame::Files(_) => {}
                    Frame::Rows(rows) => {
                        for row in rows {
                            take(row.encoded(&self.files)?);
                        }
                    }
                    Frame::End { .. } => return Ok(self.reading),
                }
            }
        }
    }
}

/// The bytes of the next frames, each checked by its digest; fewer at the end.
fn read_frames(input: &mut impl Read) -> io::Result<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    while frames.len() < FRAMES {
        let mut length = [0; 4];
        match input.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            other => other?,
        }
        let length = u32::from_le_bytes(length);
        let mut digest = [0; 32];
        input.read_exact(&mut digest)?;
        if length > LONGEST_FRAME {
            return Err(damaged("a frame is too long"));
        }
        let mut bytes = Vec::new();
        input.take(length.into()).read_to_end(&mut bytes)?;
        let mut frame = digest.to_vec();
        frame.append(&mut bytes);
        frames.push(frame);
    }
    match frames.is_empty() {
        true => Err(damaged("its end is missing")),
        false => Ok(frames),
    }
}

/// Frames whose bytes begin with their digest.
fn decoded(frames: Vec<Vec<u8>>) -> io::Result<Vec<Frame>> {
    let frames = frames.into_par_iter().map(|frame| {
        let (digest, bytes) = frame.split_at(32);
        if Sha256::digest(bytes)[..] != *digest {
            return Err(damaged("a frame has another digest"));
        }
        postcard::from_bytes(bytes).map_err(io::Error::other)
    });
    frames.collect()
}

fn damaged(problem: &str) -> io::Error {
    io::Error::other(problem)
}

impl Row {
    fn of(row: &EncodedRow, file: u32) -> Self {
        let EncodedRow {
            key,
            sequence,
            passage,
        } = row;
        let two_parts = Segment::prompt_of_two_parts(&sequence.segments, sequence.len());
        let segments = match two_parts {
            Some(prompt) => Segments::Prompt(prompt),
            None => {
                let segments = sequence.segments.iter();
                let segments = segments.map(|s| (s.role == Role::Completion, s.weight, s.end));
                Segments::Any(segments.collect())
            }
        };
        let answer = sequence.answer.as_ref();
        Self {
            file,
            row: key.row,
            example_id: key.example_id.clone(),
            level: key.level.to_string(),
            letter: key.answer,
            passage: *passage,
            token_ids: sequence.token_ids.clone(),
            segments,
            answer: answer.map(|a| (a.position, a.option_tokens.clone(), a.correct)),
        }
    }

    fn encoded(self, files: &[Arc<str>]) -> io::Result<EncodedRow> {
        let file = files.get(self.file as usize);
        let file = file.ok_or_else(|| damaged("a row is of an unknown file"))?;
        let segments = match self.segments {
            Segments::Prompt(prompt) => {
                Segment::prompt_and_completion(prompt as usize, self.token_ids.len())
            }
            Segments::Any(segments) => {
                let segment = |(is_completion, weight, end)| Segment {
                    role: match is_completion {
                        true => Role::Completion,
                        false => Role::Prompt,
                    },
                    weight,
                    end,
                };
                segments.into_iter().map(segment).collect()
            }
        };
        let answer = |(position, option_tokens, correct)| Answer {
            position,
            option_tokens,
            correct,
        };
        Ok(EncodedRow {
            key: ExampleKey {
                file: file.clone(),
                row: self.row,
                example_id: self.example_id,
                level: self.level.into(),
                answer: self.letter,
            },
            sequence: Sequence {
                example: 0,
                group: 0,
                token_ids: self.token_ids,
                segments,
                answer: self.answer.map(answer),
            },
            passage: self.passage,
        })
    }
}
