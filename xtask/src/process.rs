//! Child processes: run, waited for, and reported with their command line. Ctrl-C and termination
//! reach them.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::Duration;

use miette::{Diagnostic, IntoDiagnostic, Result, WrapErr, miette};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Lines of a failed process's log that are shown.
const SHOWN_LINES: usize = 15;

static SIGNALS: OnceLock<Signals> = OnceLock::new();

struct Signals {
    interrupt: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
}

/// Somebody stopped the task.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("stopped")
    }
}

impl std::error::Error for Interrupted {}

impl Diagnostic for Interrupted {}

/// From here on signals do not end this process; it ends when its child has.
///
/// # Errors
///
/// Where the system refuses.
pub(crate) fn watch_signals() -> Result<()> {
    let flag = |signal| -> Result<Arc<AtomicBool>> {
        let raised = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal, raised.clone()).into_diagnostic()?;
        Ok(raised)
    };
    let signals = Signals {
        interrupt: flag(SIGINT)?,
        terminate: flag(SIGTERM)?,
    };
    SIGNALS.get_or_init(|| signals);
    Ok(())
}

/// For those who wait for processes of their own.
///
/// # Errors
///
/// [`Interrupted`], once somebody has stopped the task.
pub(crate) fn check_stopped() -> Result<()> {
    match raised(|signals| &signals.interrupt) || raised(|signals| &signals.terminate) {
        true => Err(Interrupted.into()),
        false => Ok(()),
    }
}

fn raised(signal: fn(&Signals) -> &AtomicBool) -> bool {
    let signals = SIGNALS.get();
    signals.is_some_and(|signals| signal(signals).load(Ordering::SeqCst))
}

/// Runs a process whose output the user sees. `remedy` is what to do, or where to look, when it
/// fails.
///
/// # Errors
///
/// Where it cannot be started or fails; [`Interrupted`].
pub(crate) fn run(command: &mut Command, remedy: &str) -> Result<()> {
    let status = wait(start(command)?)?;
    if status.success() {
        return Ok(());
    }
    Err(miette!(
        help = remedy.to_string(),
        "{} ended with {status}",
        shown(command)
    ))
}

/// Runs a process whose output goes to `LOG.out` and `LOG.err`; returns the former.
///
/// # Errors
///
/// Where it cannot be started or fails, with the end of its log; [`Interrupted`].
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Result<PathBuf> {
    let folder = log.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).into_diagnostic()?;
    let [out, err] = ["out", "err"].map(|end| {
        let mut name = log.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{end}"));
        log.with_file_name(name)
    });
    let create = |path: &Path| {
        let file = File::create(path).into_diagnostic();
        file.wrap_err_with(|| format!("cannot write {}", path.display()))
    };
    command.stdout(create(&out)?).stderr(create(&err)?);
    let status = wait(start(command)?)?;
    if status.success() {
        return Ok(out);
    }
    let text = std::fs::read_to_string(&err).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    Err(miette!(
        help = format!("the whole log is in {}", err.display()),
        "{} ended with {status}:\n{}",
        shown(command),
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    ))
}

/// The standard output of a short process.
///
/// # Errors
///
/// Where it cannot be started or fails, with its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().into_diagnostic();
    let output = output.wrap_err_with(|| format!("cannot run {}", shown(command)))?;
    if output.status.success() {
        return String::from_utf8(output.stdout).into_diagnostic();
    }
    Err(miette!(
        "{} ended with {}:\n{}",
        shown(command),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    ))
}

fn start(command: &mut Command) -> Result<Child> {
    let child = command.stdin(Stdio::null()).spawn().into_diagnostic();
    child.wrap_err_with(|| format!("cannot start {}", shown(command)))
}

fn wait(mut child: Child) -> Result<ExitStatus> {
    let mut passed_on = false;
    loop {
        let ended = child.try_wait().into_diagnostic()?;
        // A terminal's Ctrl-C goes to the whole process group, so the child has had it.
        let interrupted = raised(|signals| &signals.interrupt);
        let terminated = raised(|signals| &signals.terminate);
        match ended {
            Some(status) if interrupted || terminated || was_stopped(status) => {
                return Err(Interrupted.into());
            }
            Some(status) => return Ok(status),
            None => {}
        }
        if terminated && !passed_on {
            terminate(&mut child);
            passed_on = true;
        }
        sleep(Duration::from_millis(50));
    }
}

/// Whether a process says by its code that a signal stopped it.
fn was_stopped(status: ExitStatus) -> bool {
    matches!(status.code(), Some(75 | 129 | 130))
}

/// Asks a process to end, where the system can ask; otherwise ends it.
fn terminate(child: &mut Child) {
    #[cfg(unix)]
    let is_asked = i32::try_from(child.id()).is_ok_and(|id| {
        use nix::{sys::signal, unistd::Pid};
        signal::kill(Pid::from_raw(id), signal::SIGTERM).is_ok()
    });
    #[cfg(not(unix))]
    let is_asked = false;
    if !is_asked {
        // It may have ended by itself meanwhile.
        let _ = child.kill();
    }
}

/// The command line as it could be typed.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains([' ', '"', '\n', '$', '*']) {
            format!("'{word}'")
        } else {
            word.into_owned()
        }
    });
    format!("`{}`", quoted.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_ran_and_where_its_log_is() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = directory.path().join("logs/full.0.1");
        let script = "echo figures; echo broken >&2; exit 3";
        let report =
            run_logged(Command::new("sh").args(["-c", script]), &log).expect_err("it fails");
        let text = format!("{report:?}");
        for part in ["sh -c 'echo", "exit status: 3", "broken", "full.0.1.err"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let script = "echo figures";
        let out = run_logged(Command::new("sh").args(["-c", script]), &log).expect("it succeeds");
        assert_eq!(std::fs::read_to_string(out).expect("written"), "figures\n");
    }

    #[test]
    fn a_stopped_child_is_no_failure() {
        let report = run(Command::new("sh").args(["-c", "exit 130"]), "").expect_err("it stops");
        assert!(report.is::<Interrupted>());
        let report =
            run(Command::new("sh").args(["-c", "exit 1"]), "look there").expect_err("it fails");
        assert!(!report.is::<Interrupted>() && format!("{report:?}").contains("look there"));
    }
}
