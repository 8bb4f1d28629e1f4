//! How deep values may be nested. Printing, comparing and freeing a value goes down to its
//! innermost part, by calls that no fuel bounds, and a namespace could even hold itself.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

/// How deep values may be nested.
pub(crate) const DEEPEST: usize = 64;

/// A filter: the value itself, if it is not nested too deep.
pub(crate) fn shallow(state: &State, value: &Value) -> Result<Value, Error> {
    check_parts(state, value, &|_| Ok(()))?;
    Ok(value.clone())
}

/// A filter: the value itself, if it also has no namespace in it, which later could hold the value.
pub(crate) fn without_namespace(state: &State, value: &Value) -> Result<Value, Error> {
    check_parts(state, value, &|part| match is_namespace(part) {
        true => Err(failed("a namespace cannot hold a namespace")),
        false => Ok(()),
    })?;
    Ok(value.clone())
}

fn is_namespace(value: &Value) -> bool {
    let object = value.as_object();
    object.is_some_and(|object| object.type_name().ends_with("::Namespace"))
}

/// Checks a value and all its parts, and pays for each.
pub(crate) fn check_parts(
    state: &State,
    value: &Value,
    check: &dyn Fn(&Value) -> Result<(), Error>,
) -> Result<(), Error> {
    check_part(state, value, check, DEEPEST)
}

fn check_part(
    state: &State,
    value: &Value,
    check: &dyn Fn(&Value) -> Result<(), Error>,
    depth: usize,
) -> Result<(), Error> {
    state.consume_fuel(1)?;
    check(value)?;
    let is_map = value.kind() == ValueKind::Map;
    if !is_map && !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Ok(());
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err(failed(&format!(
            "values are nested more than {DEEPEST} deep"
        )));
    };
    for item in value.try_iter()? {
        match is_map {
            true => check_part(state, &value.get_item(&item)?, check, depth)?,
            false => check_part(state, &item, check, depth)?,
        }
    }
    Ok(())
}

fn failed(problem: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem.to_owned())
}
