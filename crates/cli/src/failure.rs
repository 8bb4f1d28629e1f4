//! How the program reports a failure: the error, its causes, and what to do, each once.

use miette::Report;

/// The same report without the causes that an error above them already quotes. Some libraries print
/// their cause in their own message and also return it as source.
pub(crate) fn without_repetition(report: Report) -> Report {
    let messages: Vec<String> = report.chain().map(ToString::to_string).collect();
    let mut kept: Vec<&str> = Vec::new();
    for message in &messages {
        if !kept.iter().any(|above| above.contains(message.as_str())) {
            kept.push(message);
        }
    }
    if kept.len() == messages.len() {
        return report;
    }
    let innermost = kept.pop().unwrap_or_default();
    let innermost = match report.help() {
        Some(help) => miette::miette!(help = help.to_string(), "{innermost}"),
        None => miette::miette!("{innermost}"),
    };
    kept.into_iter().rev().fold(innermost, |cause, message| {
        cause.wrap_err(message.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_quoted_above_is_said_once() {
        let messages = |report: Report| -> Vec<String> {
            let report = without_repetition(report);
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
    }
}
