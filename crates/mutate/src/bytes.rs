//! Changes of bytes, whatever they mean.

use proptest::collection::vec;
use proptest::prelude::*;

/// One change of a sequence of bytes. Places are fractions of its length, in 65536ths.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Another byte.
    Set(u16, u8),
    /// One bit of a byte, by its number.
    Flip(u16, u8),
    /// So many bytes fewer.
    Remove(u16, u8),
    /// So many bytes twice.
    Repeat(u16, u8),
    /// Copies bytes from one place over those of another.
    Copy(u16, u16, u8),
    /// Writes one of the constants that readers trip over.
    Insert(u16, usize),
}

impl Edit {
    /// Its place, which serves as a random number too.
    pub fn place(&self) -> usize {
        match *self {
            Self::Set(at, _)
            | Self::Flip(at, _)
            | Self::Remove(at, _)
            | Self::Repeat(at, _)
            | Self::Copy(at, ..)
            | Self::Insert(at, _) => at.into(),
        }
    }
}

/// One to four edits.
pub fn edits(constants: usize) -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (any::<u16>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<u16>(), 0u8..8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        (any::<u16>(), 1u8..20).prop_map(|(at, length)| Edit::Remove(at, length)),
        (any::<u16>(), 1u8..20).prop_map(|(at, length)| Edit::Repeat(at, length)),
        (any::<u16>(), any::<u16>(), 1u8..20).prop_map(|(from, to, n)| Edit::Copy(from, to, n)),
        (any::<u16>(), 0..constants).prop_map(|(at, which)| Edit::Insert(at, which)),
    ];
    vec(edit, 1..5)
}

/// The bytes with the edits made.
pub fn edited(bytes: &[u8], edits: &[Edit], constants: &[&[u8]]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for edit in edits {
        let length = bytes.len();
        if length == 0 {
            break;
        }
        let place = |at: u16| (usize::from(at) * length) >> 16;
        let range = |at: u16, n: u8| place(at)..(place(at) + usize::from(n)).min(length);
        match *edit {
            Edit::Set(at, byte) => bytes[place(at)] = byte,
            Edit::Flip(at, bit) => bytes[place(at)] ^= 1 << bit,
            Edit::Remove(at, n) => drop(bytes.drain(range(at, n))),
            Edit::Repeat(at, n) => {
                let piece = bytes[range(at, n)].to_vec();
                drop(bytes.splice(place(at)..place(at), piece));
            }
            Edit::Copy(from, to, n) => {
                let piece = bytes[range(from, n)].to_vec();
                drop(bytes.splice(range(to, n), piece));
            }
            Edit::Insert(at, which) => {
                let constant = constants[which % constants.len()].to_vec();
                drop(bytes.splice(place(at)..place(at), constant));
            }
        }
    }
    bytes
}
