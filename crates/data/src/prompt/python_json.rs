//! `tojson` as Python prints JSON. Jinja's own filter escapes for HTML.

use std::io;

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, State, Value};
use rustpython_literal::float;
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
        Some(width) => {
            let indent = " ".repeat(width);
            let formatter = Python(PrettyFormatter::with_indent(indent.as_bytes()));
            value.serialize(&mut Serializer::with_formatter(&mut json, formatter))
        }
        None => {
            let formatter = Python(SpacedFormatter);
            value.serialize(&mut Serializer::with_formatter(&mut json, formatter))
        }
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

/// A formatter whose numbers are written as Python writes them: `1e+22` and `3e-07`.
struct Python<F>(F);

impl<F: Formatter> Formatter for Python<F> {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float::to_string(value).as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_python() {
        let environment = minijinja::Environment::new();
        for (number, expected) in [
            (1e22, "1e+22"),
            (-3e-7, "-3e-07"),
            (0.1, "0.1"),
            (2.0, "2.0"),
            (1e16, "1e+16"),
            (123_456_789.125, "123456789.125"),
        ] {
            let state = environment.empty_state();
            let kwargs = Kwargs::from_iter(Vec::<(String, Value)>::new());
            let json = python_json(&state, &Value::from(vec![number]), kwargs);
            assert_eq!(json.expect("a number"), format!("[{expected}]"));
        }
    }
}
