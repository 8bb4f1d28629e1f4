//! Python's methods of strings, lists and dictionaries, as minijinja-contrib has them. That crate
//! knows no fuel: what a method would print is paid for before it is called.

use std::fmt::{self, Write};

use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::bounds::LONGEST_TEXT;

/// Bytes of text for one unit of fuel, as minijinja counts them.
const BYTES_OF_FUEL: usize = 64;

/// Calls a Python method.
pub(crate) fn python_methods(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        let bytes = match (method, args) {
            ("replace", [old, new, ..]) => replaced(text, old, new),
            ("join", [items, ..]) => {
                pay_for_items(state, text, items)?;
                0
            }
            ("format", args) => formatted(text, args)?,
            _ => text.len(),
        };
        pay(state, bytes)?;
    }
    unknown_method_callback(state, value, method, args)
}

fn pay(state: &State, bytes: usize) -> Result<(), Error> {
    state.consume_fuel((bytes / BYTES_OF_FUEL) as u64)
}

/// The most bytes that a text has with every `old` replaced.
fn replaced(text: &str, old: &Value, new: &Value) -> usize {
    let (Some(old), Some(new)) = (old.as_str(), new.as_str()) else {
        return 0;
    };
    let found = text.matches(old).count();
    text.len().saturating_add(found.saturating_mul(new.len()))
}

/// Pays for each item of a list with a text behind it, when the item is met.
fn pay_for_items(state: &State, behind: &str, items: &Value) -> Result<(), Error> {
    for item in items.try_iter()? {
        state.consume_fuel(1)?;
        pay(state, behind.len() + printed(&item)?)?;
    }
    Ok(())
}

/// The most bytes that a text has with its fields filled in: each may be the longest argument, and
/// any number in it may be a width.
fn formatted(text: &str, args: &[Value]) -> Result<usize, Error> {
    let mut longest = 0;
    for arg in args {
        longest = longest.max(printed(arg)?);
    }
    let fields = text.matches('{').count();
    let numbers = text.split(|c: char| !c.is_ascii_digit());
    let widths = numbers
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap_or(usize::MAX));
    let widths = widths.fold(0, usize::saturating_add);
    let filled = fields.saturating_mul(longest);
    Ok(text.len().saturating_add(filled).saturating_add(widths))
}

/// The length of a value as it is printed, if that is not longer than the longest text.
fn printed(value: &Value) -> Result<usize, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.len());
    }
    let mut length = Length(0);
    write!(length, "{value}").map_err(|_| {
        let problem = format!("a text has more than {LONGEST_TEXT} bytes");
        Error::new(ErrorKind::InvalidOperation, problem)
    })?;
    Ok(length.0)
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        match self.0 <= LONGEST_TEXT {
            true => Ok(()),
            false => Err(fmt::Error),
        }
    }
}
