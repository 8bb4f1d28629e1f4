//! How a data file is written, by its name or by its first bytes.

use std::path::Path;

/// How the rows of a data file are written; the first is taken where a folder has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// Arrow's IPC: a file (Feather version 2) or a stream.
    Arrow,
    /// A JSON array of objects, or an object in each line.
    Json,
    /// Values separated by this byte, with a line of names first.
    Separated(u8),
}

/// How the bytes of a file of text are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstandard,
}

/// The endings of file names, each with its format.
const ENDINGS: [(&str, FileFormat); 9] = [
    ("parquet", FileFormat::Parquet),
    ("arrow", FileFormat::Arrow),
    ("feather", FileFormat::Arrow),
    ("ipc", FileFormat::Arrow),
    ("jsonl", FileFormat::Json),
    ("ndjson", FileFormat::Json),
    ("json", FileFormat::Json),
    ("csv", FileFormat::Separated(b',')),
    ("tsv", FileFormat::Separated(b'\t')),
];

/// The endings in words.
pub(crate) const ENDINGS_IN_WORDS: &str =
    ".parquet, .arrow, .feather, .jsonl, .json, .csv or .tsv, text also with .gz or .zst behind it";

impl FileFormat {
    /// The format that the end of a file's name tells.
    pub(crate) fn of_name(name: &str) -> Option<(Self, Compression)> {
        let (name, compression) = unpacked_name(name);
        let (_, ending) = name.rsplit_once('.')?;
        let ending = ending.to_ascii_lowercase();
        let (_, format) = ENDINGS.iter().find(|(known, _)| *known == ending)?;
        let is_text = matches!(format, Self::Json | Self::Separated(_));
        (is_text || compression == Compression::None).then_some((*format, compression))
    }

    /// The format of a file: by its name, else by its first bytes.
    pub(crate) fn of(path: &Path, first: &[u8]) -> Option<(Self, Compression)> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::of_name(&name).or_else(|| {
            let (_, by_name) = unpacked_name(&name);
            let compression = match first {
                [0x1f, 0x8b, ..] => Compression::Gzip,
                [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstandard,
                _ => by_name,
            };
            let format = match first {
                _ if compression != Compression::None => Self::Json,
                [b'P', b'A', b'R', b'1', ..] => Self::Parquet,
                [b'A', b'R', b'R', b'O', b'W', b'1', ..] | [0xff, 0xff, 0xff, 0xff, ..] => {
                    Self::Arrow
                }
                _ => match without_mark(first).trim_ascii_start() {
                    [b'[' | b'{', ..] => Self::Json,
                    _ => return None,
                },
            };
            Some((format, compression))
        })
    }
}

/// Text without the byte-order mark that some programs begin it with.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// A name without the ending of a compressed file.
pub(crate) fn unpacked_name(name: &str) -> (&str, Compression) {
    let endings = [
        (".gz", Compression::Gzip),
        (".zst", Compression::Zstandard),
        (".zstd", Compression::Zstandard),
    ];
    let found = endings.iter().find_map(|(ending, compression)| {
        let (stem, end) = name.split_at_checked(name.len().checked_sub(ending.len())?)?;
        end.eq_ignore_ascii_case(ending)
            .then_some((stem, *compression))
    });
    found.unwrap_or((name, Compression::None))
}

/// The name of a data file without the endings that tell its format.
pub(crate) fn without_endings(name: &str) -> Option<&str> {
    FileFormat::of_name(name)?;
    let (name, _) = unpacked_name(name);
    name.rsplit_once('.').map(|(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_first_bytes_tell_the_format() {
        use Compression::{Gzip, None as Plain, Zstandard};
        use FileFormat::{Arrow, Json, Parquet, Separated};
        type Found = Option<(FileFormat, Compression)>;
        let cases: [(&str, &[u8], Found); 17] = [
            ("a.parquet", b"", Some((Parquet, Plain))),
            ("a.b.JSONL", b"", Some((Json, Plain))),
            ("a.json.gz", b"", Some((Json, Gzip))),
            ("a.CSV.GZ", b"", Some((Separated(b','), Gzip))),
            ("data", b"\xef\xbb\xbf{", Some((Json, Plain))),
            ("a.csv.zst", b"", Some((Separated(b','), Zstandard))),
            ("a.tsv", b"PAR1", Some((Separated(b'\t'), Plain))),
            ("a.parquet.gz", b"\x1f\x8b", Some((Json, Gzip))),
            ("data", b"PAR1...", Some((Parquet, Plain))),
            ("data", b"ARROW1..", Some((Arrow, Plain))),
            ("data", b"\xff\xff\xff\xff..", Some((Arrow, Plain))),
            ("data.txt", b"\n [{", Some((Json, Plain))),
            ("data.gz", b"\x1f\x8b..", Some((Json, Gzip))),
            ("data.zst", b"\x28\xb5\x2f\xfd", Some((Json, Zstandard))),
            ("data.txt", b"a,b\n", None),
            ("data", b"", None),
            (".jsonl", b"", Some((Json, Plain))),
        ];
        for (name, first, expected) in cases {
            assert_eq!(FileFormat::of(Path::new(name), first), expected, "{name}");
        }
        assert_eq!(without_endings("x/train-0.jsonl.gz"), Some("x/train-0"));
        assert_eq!(without_endings("README.md"), None);
    }
}
