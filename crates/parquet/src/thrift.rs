//! Thrift's compact protocol, as far as the footer and the page headers of a parquet file need it.
//! Knows integers, and what to skip; knows no parquet. Allocates nothing, whatever the bytes say.
//!
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>

use std::io::{self, Read};

/// The type of a struct.
pub(crate) const STRUCT: u8 = 12;

/// How deep skipped values may be nested. Those of parquet are less than 10 deep.
const DEEPEST: usize = 32;

/// A reader of Thrift values.
pub(crate) struct Thrift<R> {
    input: R,
    read: u64,
}

impl<R: Read> Thrift<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, read: 0 }
    }

    /// The bytes read so far.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// The number and the type of a struct's next field; `None` at the end of the struct. `last` is
    /// the number of the field before it, at first 0.
    pub(crate) fn field(&mut self, last: &mut i64) -> io::Result<Option<(i64, u8)>> {
        let byte = self.byte()?;
        let (difference, kind) = (byte >> 4, byte & 0xf);
        if kind == 0 {
            return Ok(None);
        }
        *last = match difference {
            0 => self.integer()?,
            difference => last.wrapping_add(i64::from(difference)),
        };
        Ok(Some((*last, kind)))
    }

    /// An integer of 16, 32 or 64 bits.
    pub(crate) fn integer(&mut self) -> io::Result<i64> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The length of a list, and the type of its items.
    pub(crate) fn list(&mut self) -> io::Result<(u64, u8)> {
        let byte = self.byte()?;
        let length = match byte >> 4 {
            15 => self.unsigned()?,
            length => u64::from(length),
        };
        Ok((length, byte & 0xf))
    }

    /// Skips the value of a field.
    pub(crate) fn skip(&mut self, kind: u8) -> io::Result<()> {
        match kind {
            // The type of a field is the value of a boolean.
            1 | 2 => Ok(()),
            _ => self.skip_nested(kind, DEEPEST),
        }
    }

    fn skip_nested(&mut self, kind: u8, depth: usize) -> io::Result<()> {
        let depth = depth.checked_sub(1).ok_or_else(|| damaged("too deep"))?;
        match kind {
            1..=3 => self.byte().map(|_| ()),
            4..=6 => self.unsigned().map(|_| ()),
            7 => self.skip_bytes(8),
            8 => {
                let length = self.unsigned()?;
                self.skip_bytes(length)
            }
            9 | 10 => {
                let (length, kind) = self.list()?;
                (0..length).try_for_each(|_| self.skip_nested(kind, depth))
            }
            11 => {
                let length = self.unsigned()?;
                let kinds = if length == 0 { 0 } else { self.byte()? };
                (0..length).try_for_each(|_| {
                    self.skip_nested(kinds >> 4, depth)?;
                    self.skip_nested(kinds & 0xf, depth)
                })
            }
            STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    if !matches!(kind, 1 | 2) {
                        self.skip_nested(kind, depth)?;
                    }
                }
                Ok(())
            }
            13 => self.skip_bytes(16),
            _ => Err(damaged("an unknown type")),
        }
    }

    /// Skips bytes.
    pub(crate) fn skip_bytes(&mut self, length: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(length), &mut io::sink())?;
        self.read += skipped;
        match skipped == length {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// An unsigned integer, as lengths are.
    pub(crate) fn unsigned(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("an integer of more than 64 bits"))
    }

    /// A byte.
    pub(crate) fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        self.read += 1;
        Ok(byte[0])
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} in its headers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_numbered_read_and_skipped() {
        // 1: -2, 3: true, 4: "ab", 5: [1, 2], 6: {1: 7}, 40: 300.
        let bytes = [
            0x15, 0x03, 0x21, 0x18, 0x02, b'a', b'b', 0x19, 0x25, 0x02, 0x04, 0x1c, 0x15, 0x0e,
            0x00, 0x05, 0x50, 0xd8, 0x04, 0x00,
        ];
        let mut thrift = Thrift::new(bytes.as_slice());
        let (mut last, mut integers) = (0, Vec::new());
        while let Some((number, kind)) = thrift.field(&mut last).expect("a field") {
            match kind {
                5 => integers.push((number, thrift.integer().expect("an integer"))),
                kind => thrift.skip(kind).expect("a value"),
            }
        }
        assert_eq!(integers, [(1, -2), (40, 300)]);
        assert_eq!(thrift.read(), bytes.len() as u64);
    }

    #[test]
    fn no_bytes_make_it_run_away() {
        // A list of 2^63 structs, lists without end, a text of 2^63 bytes, an endless integer.
        let endless = [0xff; 40];
        let long = |kind: u8| [&[kind], &[0x80; 8][..], &[0x7f]].concat();
        let list = [&[0xfc][..], &[0xff; 8], &[0x7f]].concat();
        for (kind, bytes) in [
            (9, list),
            (9, vec![0x19; 1000]),
            (8, long(0x80)),
            (5, endless.to_vec()),
            (14, Vec::new()),
        ] {
            let mut thrift = Thrift::new(bytes.as_slice());
            assert!(thrift.skip(kind).is_err(), "{kind}: {bytes:?}");
        }
    }
}
