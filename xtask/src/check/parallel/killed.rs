//! A process is killed: the job ends, and resumes on as many processes and on others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result, miette};
use plw_record::RunDirectory;
use serde::Serialize;

use super::comparison::{are_same, losses, metrics};
use super::launch::{Job, Place};
use crate::peer::scratch::Scratch;
use crate::process;
use crate::workspace::Workspace;

const STEPS: usize = 400;
/// A process is killed once so many steps are logged.
const KILLED_AFTER: usize = 120;
/// Steps after the resume whose losses are compared with other numbers of processes; later ones
/// drift apart, as f32 sums in another order do.
const COMPARED: usize = 20;
const LOSS: f64 = 1e-4;

/// What became of the job of a killed process.
#[derive(Debug, Serialize)]
pub(super) struct Killed {
    /// Steps that were logged when process 1 of 2 was killed.
    logged: usize,
    /// The exit code of mpirun.
    exit_code: Option<i32>,
    /// Seconds until mpirun had ended.
    seconds: f64,
    /// Whether 2 processes resumed to the bits of an undisturbed run.
    same_bits: bool,
    resumed: Vec<Resumed>,
}

/// The same folder, resumed by another number of processes.
#[derive(Debug, Serialize)]
struct Resumed {
    processes: usize,
    /// The greatest difference of the losses of the first 20 steps, all steps having the same
    /// examples.
    greatest_difference: f64,
    bar: f64,
}

impl Killed {
    pub(super) fn is_met(&self) -> bool {
        let failed = self.exit_code.is_none_or(|code| code != 0);
        let close = |resumed: &Resumed| resumed.greatest_difference <= resumed.bar;
        failed && self.same_bits && self.resumed.iter().all(close)
    }
}

pub(super) fn check(workspace: &Workspace, plw: &Path, scratch: &Scratch) -> Result<Killed> {
    eprintln!("killing a process");
    let two = Place::Processes(2);
    let job = |place, records: &Path, resume: bool| {
        let mut job = Job::smoke(workspace, plw, place, records);
        job.command.arg(format!("--max-steps={STEPS}"));
        job.command.arg("--save-steps=50");
        if resume {
            job.command.arg("--resume");
        }
        job.command
    };
    let whole = scratch.empty_run("undisturbed")?;
    process::run_logged(&mut job(two, &whole, false), &scratch.log("undisturbed"))?;
    let killed = scratch.empty_run("killed")?;
    let mut command = job(two, &killed, false);
    let log = fs::File::create(scratch.path("logs/killed.err")).into_diagnostic()?;
    let mut child = command
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .into_diagnostic()?;
    let logged = wait_for_rows(&mut child, &killed)?;
    let began = Instant::now();
    kill_process_1(&killed)?;
    let status = child.wait().into_diagnostic()?;
    let seconds = began.elapsed().as_secs_f64();
    if RunDirectory::new(&killed).is_complete() {
        return Err(miette!(
            "the run was complete before its process was killed"
        ));
    }
    let mut resumed = Vec::new();
    for processes in [1, 4] {
        let copy = scratch.empty_run(&format!("resumed-by-{processes}"))?;
        copy_folder(&killed, &copy)?;
        let log = scratch.log(&format!("resumed-by-{processes}"));
        process::run_logged(&mut job(Place::Processes(processes), &copy, true), &log)?;
        let (found, expected) = (metrics(&copy)?, metrics(&whole)?);
        // What the steps hold is compared for all of them.
        losses("resumed", &found, &expected)?;
        let from = logged / 50 * 50;
        let part = from..from + COMPARED;
        resumed.push(Resumed {
            processes,
            greatest_difference: losses("resumed", &found[part.clone()], &expected[part])?,
            bar: LOSS,
        });
    }
    process::run_logged(&mut job(two, &killed, true), &scratch.log("resumed"))?;
    Ok(Killed {
        logged,
        exit_code: status.code(),
        seconds,
        same_bits: are_same(&killed, &whole)?,
        resumed,
    })
}

fn wait_for_rows(child: &mut Child, run: &Path) -> Result<usize> {
    loop {
        process::check_stopped()?;
        let text = fs::read_to_string(RunDirectory::new(run).metrics()).unwrap_or_default();
        let rows = text.lines().count();
        if rows >= KILLED_AFTER {
            return Ok(rows);
        }
        if let Some(status) = child.try_wait().into_diagnostic()? {
            return Err(miette!(
                "mpirun ended with {status} before a process was killed"
            ));
        }
        sleep(Duration::from_millis(5));
    }
}

/// Kills the second process of the job that writes to this folder.
fn kill_process_1(run: &Path) -> Result<()> {
    let run = run.display().to_string();
    let has = |process: &Path, file: &str, text: &str| {
        let bytes = fs::read(process.join(file)).unwrap_or_default();
        let mut words = bytes.split(|&byte| byte == 0);
        words.any(|word| word == text.as_bytes())
    };
    let entries = fs::read_dir("/proc").into_diagnostic()?.flatten();
    let found = entries.map(|entry| entry.path()).find(|process| {
        has(process, "cmdline", &run) && has(process, "environ", "OMPI_COMM_WORLD_RANK=1")
    });
    let number = found
        .as_ref()
        .and_then(|process| process.file_name()?.to_str()?.parse().ok());
    let Some(number) = number else {
        return Err(miette!("the second process of mpirun is not there"));
    };
    use nix::{sys::signal, unistd::Pid};
    signal::kill(Pid::from_raw(number), signal::SIGKILL).into_diagnostic()
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).into_diagnostic()?;
    for entry in fs::read_dir(from).into_diagnostic()? {
        let path = entry.into_diagnostic()?.path();
        let target: PathBuf = to.join(path.file_name().unwrap_or_default());
        match path.is_dir() {
            true => copy_folder(&path, &target)?,
            false => drop(fs::copy(&path, &target).into_diagnostic()?),
        }
    }
    Ok(())
}
