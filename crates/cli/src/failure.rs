//! How the program reports a failure: the error, its causes, and what to do, each once; and what it
//! exits with.

use std::io;

use miette::{Report, miette};
use plw_report::printable;
use plw_sweep::{NEVER, SweepError, TRY_AGAIN};

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) report: Report,
    /// What the program exits with.
    pub(crate) code: u8,
}

impl Failure {
    /// One that comes again however often the command is tried: its settings make no sense.
    pub(crate) fn never(report: Report) -> Self {
        Self {
            report,
            code: NEVER,
        }
    }

    /// One of which `is_final` says whether it comes again however often the command is tried.
    pub(crate) fn never_if(is_final: bool, report: Report) -> Self {
        match is_final {
            true => Self::never(report),
            false => report.into(),
        }
    }

    /// One after which another try is needed, or is another worker's.
    pub(crate) fn again(report: Report) -> Self {
        Self {
            report,
            code: TRY_AGAIN,
        }
    }

    /// One over the files that settings name. It comes again, unless the system failed to read a
    /// file that is there, or some are downloaded.
    pub(crate) fn of_inputs(report: Report, are_downloaded: bool) -> Self {
        let may_pass = |error: &io::Error| {
            error.raw_os_error().is_some() && error.kind() != io::ErrorKind::NotFound
        };
        let mut causes = report.chain().filter_map(|error| error.downcast_ref());
        let is_final = !are_downloaded && !causes.any(may_pass);
        Self::never_if(is_final, report)
    }

    /// One over the files of a sweep. It comes again where they are damaged.
    pub(crate) fn of_sweep(error: SweepError) -> Self {
        let is_final = error.is_damage();
        let report = match error {
            SweepError::List { .. } => miette!(
                help = "start or submit the sweep again, which writes the list",
                "{error}"
            ),
            error => Report::from_err(error),
        };
        Self::never_if(is_final, report)
    }

    /// Whether another try would end the same.
    pub(crate) fn is_final(&self) -> bool {
        self.code == NEVER
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self { report, code: 1 }
    }
}

/// The same report, safe to print, without the causes that an error above them already quotes: some
/// libraries print their cause in their own message and also return it as source.
pub(crate) fn readable(report: &Report) -> Report {
    let mut kept: Vec<String> = Vec::new();
    for message in report.chain().map(|error| printable(&error.to_string())) {
        if !kept.iter().any(|above| above.contains(&message)) {
            kept.push(message);
        }
    }
    let innermost = kept.pop().unwrap_or_default();
    let innermost = match report.help() {
        Some(help) => miette::miette!(help = printable(&help.to_string()), "{innermost}"),
        None => miette::miette!("{innermost}"),
    };
    kept.into_iter()
        .rev()
        .fold(innermost, |cause, message| cause.wrap_err(message))
}

/// An error, its causes and its remedy in one line.
pub(crate) fn one_line(report: &Report) -> String {
    let mut text = report.chain().map(ToString::to_string).collect::<Vec<_>>();
    text.extend(report.help().map(|help| help.to_string()));
    text.join(": ")
}

#[cfg(test)]
mod tests {
    use miette::IntoDiagnostic;

    use super::*;

    #[test]
    fn inputs_fail_for_good_unless_reading_them_may_succeed_later() {
        let of_inputs = |error: io::Error, are_downloaded: bool| {
            let error = plw_files::FileError::cannot("read", "data.jsonl".as_ref())(error);
            let report = Err::<(), _>(error).into_diagnostic().expect_err("it fails");
            Failure::of_inputs(report.wrap_err("the data"), are_downloaded).is_final()
        };
        let system = io::Error::from_raw_os_error;
        assert!(of_inputs(system(2), false), "ENOENT");
        assert!(of_inputs(io::Error::other("line 3 is no JSON"), false));
        assert!(!of_inputs(system(5), false), "EIO");
        assert!(!of_inputs(system(2), true));
    }

    #[test]
    fn a_report_says_each_thing_once_and_safely() {
        let messages = |report: Report| -> Vec<String> {
            let report = readable(&report);
            let help = report.help().map(|help| help.to_string());
            report
                .chain()
                .map(ToString::to_string)
                .chain(help)
                .collect()
        };
        let repeated = miette::miette!(help = "free some space", "the disk is full")
            .wrap_err("cannot write a: the disk is full")
            .wrap_err("the run failed");
        assert_eq!(
            messages(repeated),
            [
                "the run failed",
                "cannot write a: the disk is full",
                "free some space"
            ]
        );
        let distinct = miette::miette!(help = "free some space", "the disk is full")
            .wrap_err("cannot write a");
        assert_eq!(
            messages(distinct),
            ["cannot write a", "the disk is full", "free some space"]
        );
        let raw = miette::miette!(help = "\u{1b}[2J", "\u{9b}2J").wrap_err("a \u{1b}[31mname");
        assert_eq!(
            messages(raw),
            ["a \\u001b[31mname", "\\u009b2J", "\\u001b[2J"]
        );
    }
}
