//! The Jinja environment of transformers: the functions, filters and settings of chat templates.

use std::fmt::Write;

use chrono::NaiveDate;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// An environment that holds one template, under `name`. Follows
/// `transformers.utils.chat_template_utils`.
pub(crate) fn chat_environment(
    name: &'static str,
    source: &str,
    date: Option<NaiveDate>,
) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function(
        "raise_exception",
        |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_function("strftime_now", move |format: String| {
        strftime(date, &format)
    });
    environment.add_filter("tojson", python_json);
    environment.add_template_owned(name, generation_tags_as_conditions(source))?;
    Ok(environment)
}

/// The tag `{% generation %}` of transformers marks the assistant's tokens and prints nothing. The
/// tags of minijinja cannot be extended, so it becomes a condition that always holds, with the same
/// whitespace control.
fn generation_tags_as_conditions(source: &str) -> String {
    let mut rest = source;
    let mut converted = String::new();
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let tag = &rest[start + 2..start + length];
        let (before, after) = rest.split_at(start + 2);
        converted.push_str(before);
        match tag.trim_matches(['-', '+']).trim() {
            "generation" => converted.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => converted.push_str(&tag.replace("endgeneration", "endif")),
            _ => converted.push_str(tag),
        }
        rest = &after[length - 2..];
    }
    converted + rest
}

fn strftime(date: Option<NaiveDate>, format: &str) -> Result<String, Error> {
    let fail = |message: &str| Error::new(ErrorKind::InvalidOperation, message.to_owned());
    let date = date.ok_or_else(|| {
        fail(
            "it prints the current date, which would change the tokens from day to day: set \
             chat_template_date to YYYY-MM-DD",
        )
    })?;
    let mut printed = String::new();
    write!(
        printed,
        "{}",
        date.and_time(chrono::NaiveTime::MIN).format(format)
    )
    .map_err(|_| fail(&format!("strftime_now does not know the format {format:?}")))?;
    Ok(printed)
}

/// `json.dumps(value, ensure_ascii=False, indent=indent)`: Jinja's own `tojson` escapes for HTML.
fn python_json(value: &Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    kwargs.assert_all_used()?;
    let mut json = Vec::new();
    let written = match indent {
        Some(width) => {
            let indent = " ".repeat(width);
            value.serialize(&mut Serializer::with_formatter(
                &mut json,
                PrettyFormatter::with_indent(indent.as_bytes()),
            ))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut json, SpacedFormatter)),
    };
    written.map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    String::from_utf8(json)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// Python's separators: `", "` and `": "`.
struct SpacedFormatter;

impl Formatter for SpacedFormatter {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        self.begin_array_value(writer, first)
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}
