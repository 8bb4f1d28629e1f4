//! Logs on standard error: for people or, as JSON lines, for programs.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::processes;
use clap::{Args, ValueEnum};
use miette::{Result, miette};
use plw_report::printable;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The environment variable with the log's filter.
pub(crate) const FILTER: &str = "PLW_LOG";

static SHOWS_BARS: AtomicBool = AtomicBool::new(false);

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// A JSON object a line: the message, and what it is about as fields such as step and loss.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Args)]
pub(crate) struct LogFlags {
    /// Format of the log on standard error.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    /// Log only warnings and errors, and show no progress.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

impl LogFlags {
    /// These flags for another process of plw.
    pub(crate) fn arguments(self) -> Vec<&'static str> {
        let mut arguments = Vec::new();
        if self.log_format == LogFormat::Json {
            arguments.extend(["--log-format", "json"]);
        }
        if self.quiet {
            arguments.push("--quiet");
        }
        arguments
    }
}

/// Starts logging; `PLW_LOG` takes a filter such as `debug` or `plw_train=trace`.
///
/// # Errors
///
/// If `PLW_LOG` is no filter. The log is then on without it.
pub(crate) fn start(flags: LogFlags) -> Result<()> {
    let rank = processes::launch()
        .ok()
        .flatten()
        .map_or(0, |launch| launch.rank);
    let is_quiet = flags.quiet || rank > 0;
    let default = EnvFilter::new(if is_quiet { "warn" } else { "info" });
    let given = std::env::var_os(FILTER);
    let asked = given.map(|text| match text.to_str().map(EnvFilter::try_new) {
        Some(Ok(filter)) => Ok(filter),
        _ => Err(miette!(
            help = "give a filter such as debug or plw_train=trace, or unset it",
            "the environment variable {FILTER} is {text:?}, which is not a filter of logs"
        )),
    });
    let (filter, started) = match asked {
        None => (default, Ok(())),
        Some(Ok(filter)) => (filter, Ok(())),
        Some(Err(error)) => (default, Err(error)),
    };
    let is_terminal = std::io::stderr().is_terminal();
    let for_people = flags.log_format == LogFormat::Human;
    SHOWS_BARS.store(for_people && !is_quiet && is_terminal, Ordering::Relaxed);
    let registry = tracing_subscriber::registry().with(filter);
    // Where nobody reads the log any more, the work goes on without it.
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match flags.log_format {
        LogFormat::Human => {
            let colors =
                is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            // The message says in words what the fields hold for programs.
            let who = match rank {
                0 => String::new(),
                _ => format!("process {rank}: "),
            };
            let message = debug_fn(move |writer, field, value| match field.name() {
                "message" => write!(writer, "{who}{}", printable(&format!("{value:?}"))),
                _ => Ok(()),
            });
            let layer = layer
                .with_ansi(colors)
                .with_target(false)
                .without_time()
                .compact()
                .fmt_fields(message);
            registry.with(layer).init();
        }
        LogFormat::Json => registry.with(layer.json()).init(),
    }
    started
}

/// Whether progress is shown as bars on a terminal; else it is logged.
pub(crate) fn shows_bars() -> bool {
    SHOWS_BARS.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_gets_the_same_flags() {
        let flags = |log_format, quiet| LogFlags { log_format, quiet };
        for (flags, arguments) in [
            (flags(LogFormat::Human, false), vec![]),
            (flags(LogFormat::Human, true), vec!["--quiet"]),
            (
                flags(LogFormat::Json, true),
                vec!["--log-format", "json", "--quiet"],
            ),
        ] {
            assert_eq!(flags.arguments(), arguments);
        }
    }
}
