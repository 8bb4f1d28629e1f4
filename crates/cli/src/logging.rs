//! Logs on standard error: for people or, as JSON lines, for programs.

use std::io::IsTerminal;

use clap::ValueEnum;
use miette::Report;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// A JSON object a line.
    Json,
}

/// An error, its causes and its remedy in one line.
pub(crate) fn one_line(report: &Report) -> String {
    let mut text = report.chain().map(ToString::to_string).collect::<Vec<_>>();
    text.extend(report.help().map(|help| help.to_string()));
    text.join(": ")
}

/// Starts logging; `PLW_LOG` takes a filter such as `debug` or `plw_train=trace`.
pub(crate) fn start(format: LogFormat, quiet: bool) {
    let default = if quiet { "warn" } else { "info" };
    let filter = EnvFilter::try_from_env("PLW_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Human => {
            let colors = std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let layer = fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(colors)
                .with_target(false)
                .without_time()
                .compact();
            registry.with(layer).init();
        }
        LogFormat::Json => registry
            .with(fmt::layer().json().with_writer(std::io::stderr))
            .init(),
    }
}
