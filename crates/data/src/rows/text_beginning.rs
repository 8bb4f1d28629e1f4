//! What the beginning of a file tells that is not text, whatever its name says.

/// Bytes that are looked at.
const BEGINNING: usize = 64;

/// What a file is that begins with these bytes and is not text in UTF-8, and what to do about it.
pub(crate) fn not_text(bytes: &[u8]) -> Option<&'static str> {
    let beginning = &bytes[..bytes.len().min(BEGINNING)];
    Some(match beginning {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is UTF-16: write it again in UTF-8",
        [0x1f, 0x8b, ..] => "it is compressed with gzip: end its name in .gz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is compressed with zstandard: end its name in .zst",
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            "it is compressed: unpack it, or compress it with gzip or zstandard"
        }
        [b'P', b'A', b'R', b'1', ..] => "it is a parquet file: end its name in .parquet",
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => "it is an Arrow file: end its name in .arrow",
        [b'P', b'K', 3, 4, ..] => {
            "it is a zip archive or a spreadsheet: unpack it, or save it as CSV in UTF-8"
        }
        _ if beginning.starts_with(b"version https://git-lfs") => {
            "it is a pointer of Git LFS: fetch the data with `git lfs pull`"
        }
        _ if beginning.starts_with(b"<!DOCTYPE") || beginning.starts_with(b"<html") => {
            "it is a web page: check the address that it was downloaded from"
        }
        _ if beginning.contains(&0) => "it holds bytes that no text holds: check what it is",
        _ => return None,
    })
}
