//! Where a JSON value ends: found without parsing it, so that the items of an array are read one by
//! one.

use std::io;

use super::text_file::TextFile;

/// How a value ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The bytes are a whole value, if they are one at all.
    Whole,
    /// It has more bytes than are kept. The text is behind it.
    TooLong,
    /// The text ended first.
    Early,
}

/// What is known of the bytes of a value so far.
#[derive(Default)]
struct Scan {
    /// Brackets and braces that are open.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl Scan {
    /// Whether the value ended before this byte, or with it.
    fn step(&mut self, byte: u8) -> Step {
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => {
                    self.in_string = false;
                    if self.depth == 0 {
                        return Step::EndsWith;
                    }
                }
                _ => {}
            }
            return Step::GoesOn;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth == 0 => return Step::EndsBefore,
            b',' if self.depth == 0 => return Step::EndsBefore,
            b'}' | b']' => {
                self.depth -= 1;
                if self.depth == 0 {
                    return Step::EndsWith;
                }
            }
            _ => {}
        }
        Step::GoesOn
    }
}

enum Step {
    GoesOn,
    EndsBefore,
    EndsWith,
}

/// Reads the bytes of the next item of an array into `value`, at most `longest` of them.
pub(crate) fn read_value(
    text: &mut TextFile,
    value: &mut Vec<u8>,
    longest: usize,
) -> io::Result<Ended> {
    value.clear();
    let mut scan = Scan::default();
    let mut fits = true;
    loop {
        let buffer = text.fill_buf()?;
        if buffer.is_empty() {
            return Ok(Ended::Early);
        }
        let mut ended = None;
        for (index, &byte) in buffer.iter().enumerate() {
            match scan.step(byte) {
                Step::GoesOn => {}
                Step::EndsBefore => ended = Some(index),
                Step::EndsWith => ended = Some(index + 1),
            }
            if ended.is_some() {
                break;
            }
        }
        let count = ended.unwrap_or(buffer.len());
        fits &= value.len() + count <= longest;
        if fits {
            value.extend_from_slice(&buffer[..count]);
        }
        text.skip(count);
        if ended.is_some() {
            return Ok(match fits {
                true => Ended::Whole,
                false => Ended::TooLong,
            });
        }
    }
}
