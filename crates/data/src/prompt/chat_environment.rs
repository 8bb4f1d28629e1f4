//! The Jinja environment of transformers: the functions, filters and settings of chat templates.
//! Templates come from other people: what one may do is bounded by minijinja's fuel, which these
//! functions pay for too.

use std::fmt::Write;

use chrono::NaiveDate;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::generation_marks;
use super::nesting;
use super::python_json::python_json;
use super::python_methods::python_methods;
use super::template_source::{GENERATION, SHALLOW, WITHOUT_NAMESPACE, converted};

/// The work that rendering one conversation may take: one unit for each instruction, and one for
/// each 64 bytes of text that are read or written. A usual template needs a few hundred for a
/// conversation of a few kilobytes.
pub(crate) const FUEL: u64 = 2_000_000;

/// Bytes of the longest template. The longest in use has about 20 kilobytes.
pub(crate) const LONGEST_TEMPLATE: usize = 128 << 10;

/// Bytes of stack to parse the longest template with: the parser calls itself for each operator of
/// an expression.
const PARSER_STACK: usize = 128 << 20;

/// An environment that holds one template, under `name`. Follows
/// `transformers.utils.chat_template_utils`.
pub(crate) fn chat_environment(
    name: &'static str,
    source: &str,
    date: Option<NaiveDate>,
) -> Result<Environment<'static>, Error> {
    if source.len() > LONGEST_TEMPLATE {
        let problem = format!(
            "it has {} bytes, and at most {LONGEST_TEMPLATE} are read",
            source.len()
        );
        return Err(Error::new(ErrorKind::SyntaxError, problem));
    }
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_unknown_method_callback(python_methods);
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
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter(GENERATION, generation_marks::marked);
    environment.add_filter(SHALLOW, nesting::shallow);
    environment.add_filter(WITHOUT_NAMESPACE, nesting::without_namespace);
    let source = converted(source);
    let unparsed = |problem: String| Error::new(ErrorKind::SyntaxError, problem);
    std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().stack_size(PARSER_STACK);
        let parsed = parser
            .spawn_scoped(scope, || environment.add_template_owned(name, source))
            .map_err(|error| unparsed(format!("no thread can be started to parse it: {error}")))?;
        let parsed = parsed.join();
        parsed.unwrap_or_else(|_| Err(unparsed("the parser panics".to_owned())))
    })?;
    Ok(environment)
}

/// Python's `int`, which fails on an undefined value; minijinja's makes it 0.
fn int(
    state: &State,
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    check_defined(value)?;
    minijinja::filters::int(state, value, default, base, kwargs)
}

/// Python's `float`, likewise.
fn float(
    state: &State,
    value: &Value,
    default: Option<Value>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    check_defined(value)?;
    minijinja::filters::float(state, value, default, kwargs)
}

fn check_defined(value: &Value) -> Result<(), Error> {
    match value.is_undefined() {
        true => Err(ErrorKind::UndefinedError.into()),
        false => Ok(()),
    }
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
