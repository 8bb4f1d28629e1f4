//! `tojson` as Python prints JSON. Jinja's own filter escapes for HTML.

use std::io;

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, State, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::bounds::LONGEST_TEXT;
use super::nesting::check_parts;

/// The widest indentation. The usual ones are 2 and 4.
const WIDEST_INDENT: usize = 100;

/// `json.dumps(value, ensure_ascii=False, indent=indent)`.
pub(crate) fn python_json(state: &State, value: &Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    kwargs.assert_all_used()?;
    if let Some(indent) = indent.filter(|&indent| indent > WIDEST_INDENT) {
        return Err(failed(format!(
            "indent = {indent} is more than {WIDEST_INDENT}"
        )));
    }
    check_parts(state, value, &|part| match part.is_undefined() {
        true => Err(failed("a value is undefined".to_owned())),
        false => Ok(()),
    })?;
    let mut json = Bounded(Vec::new());
    let written = match indent {
        Some(width) => value.serialize(&mut Serializer::with_formatter(
            &mut json,
            PrettyFormatter::with_indent(" ".repeat(width).as_bytes()),
        )),
        None => value.serialize(&mut Serializer::with_formatter(&mut json, SpacedFormatter)),
    };
    written.map_err(|error| failed(error.to_string()))?;
    String::from_utf8(json.0).map_err(|error| failed(error.to_string()))
}

fn failed(problem: String) -> Error {
    Error::new(ErrorKind::BadSerialization, format!("tojson: {problem}"))
}

/// Bytes that are not longer than the longest text.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST_TEXT {
            let problem = format!("the text has more than {LONGEST_TEXT} bytes");
            return Err(io::Error::other(problem));
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Python's separators: `", "` and `": "`.
struct SpacedFormatter;

impl Formatter for SpacedFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.begin_array_value(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
