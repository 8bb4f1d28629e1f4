//! The command line from outside: surroundings, signals, output, logs, names, and what is checked
//! when.

mod checks;
mod environment;
mod folders;
mod logs;
mod names;
mod output;
#[cfg(unix)]
mod remedies;
#[cfg(unix)]
mod signals;
mod smoke;
#[cfg(unix)]
mod sweep_lists;
#[cfg(unix)]
mod sweeps;
