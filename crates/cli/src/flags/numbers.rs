//! What the numbers of flags must be, in a user's words where clap has Rust's. A negative number is
//! read as one, not as another flag.

use std::any::TypeId;
use std::str::FromStr;

use clap::Arg;

/// A flag whose errors say what numbers it takes, if it takes numbers.
pub(super) fn explained(argument: Arg) -> Arg {
    let kind = argument.get_value_parser().type_id();
    let explained = if kind == TypeId::of::<u64>() {
        argument.value_parser(whole::<u64>)
    } else if kind == TypeId::of::<usize>() {
        argument.value_parser(whole::<usize>)
    } else if kind == TypeId::of::<f64>() {
        argument.value_parser(number)
    } else {
        return argument;
    };
    explained.allow_negative_numbers(true)
}

fn whole<T: FromStr>(text: &str) -> Result<T, &'static str> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .map_err(|_| match is_digits && !text.is_empty() {
            true => "it is too large",
            false => "it must be a whole number of at least 0",
        })
}

fn number(text: &str) -> Result<f64, &'static str> {
    text.parse().map_err(|_| "it must be a number")
}
