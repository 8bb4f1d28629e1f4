//! Readers of files that others write, given changed copies of good files: they answer with a value
//! or an error, never with a panic, and take no more memory than a limit of the process allows.

mod adapter_config;
mod config;
mod headers;
mod index;
