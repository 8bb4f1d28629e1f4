//! A sweep as a job array of Slurm.

use serde::{Deserialize, Serialize};

use crate::SweepError;
use crate::job::{Job, TRY_AGAIN, plain_name};
use crate::shell::quoted;

/// Seconds that a run has from the signal before the time limit until its step is killed.
const SECONDS_BEFORE_END: u32 = 60;

/// Seconds that stopping may take: less than the 30 between SIGTERM and SIGKILL that Slurm waits by
/// default (`KillWait`).
const STOP_WITHIN: u32 = 20;

/// Times that a task is put back into the queue, so that one that never fits its memory ends.
const MOST_RESTARTS: u32 = 100;

/// Exit codes from here on are signals': 137 where a run was killed for its memory.
const SIGNALS: u32 = 128;

/// Options of sbatch that decide how a sweep is done, long and short.
const OURS: [&str; 9] = [
    "--wrap",
    "--array",
    "-a",
    "--requeue",
    "--no-requeue",
    "--signal",
    "--output",
    "-o",
    "--open-mode",
];

/// The table `cluster.slurm` of a preset: what a task of the array asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlurmSettings {
    /// The partition.
    pub partition: Option<String>,
    /// Whom it is charged to.
    pub account: Option<String>,
    /// The time limit, such as `12:00:00`. A run that needs longer goes on in the next.
    pub time: Option<String>,
    /// Processes that share a run, each with its own processors and GPUs; plw must be built for it.
    pub processes: Option<u32>,
    /// How srun connects them, such as `pmix`: one of `srun --mpi=list`, if not the site's default.
    pub mpi: Option<String>,
    /// Processors of a process, and so threads.
    pub cpus_per_task: Option<u32>,
    /// Memory, such as `32G`.
    pub memory: Option<String>,
    /// GPUs of a process.
    pub gpus: Option<u32>,
    /// Seconds before the time limit at which a run is asked to stop.
    pub seconds_before_end: u32,
    /// Further options of sbatch, such as `--constraint=a100`.
    pub options: Vec<String>,
    /// Lines of the script before the run, such as `module load cuda`.
    pub setup: Vec<String>,
}

impl Default for SlurmSettings {
    fn default() -> Self {
        Self {
            partition: None,
            account: None,
            time: None,
            processes: None,
            mpi: None,
            cpus_per_task: None,
            memory: None,
            gpus: None,
            seconds_before_end: SECONDS_BEFORE_END,
            options: Vec::new(),
            setup: Vec::new(),
        }
    }
}

/// The script for `sbatch`. Each task does a run. One that exits with [`TRY_AGAIN`] because its
/// time is up, or that was killed, the script puts back into the queue. A task that is pre-empted,
/// or whose node fails, Slurm itself puts back: its SIGTERM ends the script, which therefore never
/// brings back a task that was cancelled.
///
/// # Errors
///
/// If an option for Slurm cannot be written as a line of the script.
pub fn slurm_script(job: &Job, settings: &SlurmSettings) -> Result<String, SweepError> {
    let logs = job.logs().display().to_string();
    let mut options = vec![
        format!("--job-name=plw-{}", plain_name(&job.name)),
        format!("--array=0-{}%{}", job.runs.saturating_sub(1), job.workers),
        "--requeue".to_string(),
        format!("--signal=USR1@{}", settings.seconds_before_end),
        format!("--output=\"{}/slurm-%a.log\"", logs.replace('%', "%%")),
        "--open-mode=append".to_string(),
    ];
    let gpus = match settings.processes {
        Some(_) => "gpus-per-task",
        None => "gpus",
    };
    let given = [
        ("partition", settings.partition.clone()),
        ("account", settings.account.clone()),
        ("time", settings.time.clone()),
        ("ntasks", settings.processes.map(|n| n.to_string())),
        (
            "cpus-per-task",
            settings.cpus_per_task.map(|n| n.to_string()),
        ),
        ("mem", settings.memory.clone()),
        (gpus, settings.gpus.map(|n| n.to_string())),
    ];
    for (name, value) in given {
        let Some(value) = value else { continue };
        if value.is_empty() || value.contains(char::is_whitespace) {
            return Err(refused(
                &value,
                &format!("is no value of sbatch's --{name}"),
            ));
        }
        options.push(format!("--{name}={value}"));
    }
    for (name, count) in [
        ("processes", settings.processes),
        ("cpus_per_task", settings.cpus_per_task),
    ] {
        if count == Some(0) {
            let given = format!("{name} = 0");
            return Err(refused(&given, "leaves nobody to do the runs"));
        }
    }
    for option in &settings.options {
        if !option.starts_with('-') {
            let problem = "is no option of sbatch: it begins with no `--`";
            return Err(refused(option, problem));
        }
        if OURS.iter().any(|ours| is_option(option, ours)) {
            let problem = "is an option that plw decides: remove it from `options`";
            return Err(refused(option, problem));
        }
    }
    options.extend(settings.options.iter().cloned());
    let logs_in_quotes = logs.contains('"');
    if let Some(option) = options
        .iter()
        .find(|option| option.contains(char::is_control))
    {
        return Err(refused(
            option,
            "has a line break or another control character",
        ));
    }
    if logs_in_quotes {
        return Err(refused(
            &logs,
            "has a quotation mark: choose another --output-dir",
        ));
    }
    let mut lines = vec!["#!/bin/bash".to_string()];
    lines.extend(options.iter().map(|option| format!("#SBATCH {option}")));
    lines.push(String::new());
    lines.extend(settings.setup.iter().cloned());
    for (name, value) in &job.environment {
        lines.push(format!("export {name}={}", quoted(value)));
    }
    let directory = quoted(&job.working_directory.display().to_string());
    lines.push(format!("cd {directory} || exit 1"));
    // srun does not take it over, and with fewer processors a step would compute on one.
    lines.push("export SRUN_CPUS_PER_TASK=\"${SLURM_CPUS_PER_TASK:-1}\"".to_string());
    lines.push("export RAYON_NUM_THREADS=\"$SRUN_CPUS_PER_TASK\"".to_string());
    // What srun exits with where it cannot start the run, as right after a task was put back.
    lines.push(format!("export SLURM_EXIT_ERROR={TRY_AGAIN}"));
    let limit = settings.seconds_before_end.clamp(1, STOP_WITHIN);
    let mut words = vec!["srun".to_string()];
    words.extend(settings.mpi.as_ref().map(|mpi| format!("--mpi={mpi}")));
    words.extend(job.command(&job.program, limit));
    lines.push(sentence(&words));
    lines.push("code=$?".to_string());
    // srun may exit with 0 where it gave up to start the run.
    lines.push("if [ \"$code\" -eq 0 ]; then".to_string());
    let status = [
        job.program.display().to_string(),
        "sweep".to_string(),
        "--status".to_string(),
        job.output_directory.display().to_string(),
    ];
    let index = "--index \"$SLURM_ARRAY_TASK_ID\" > /dev/null";
    lines.push(format!("    {} {index}", sentence(&status)));
    lines.push("    code=$?".to_string());
    lines.push("fi".to_string());
    lines.push(format!(
        "if [ \"$code\" -eq {TRY_AGAIN} ] || [ \"$code\" -ge {SIGNALS} ]; then"
    ));
    lines.push(format!(
        "    if [ \"${{SLURM_RESTART_COUNT:-0}}\" -lt {MOST_RESTARTS} ]; then"
    ));
    // SLURM_JOB_ID would be the whole array for one of its tasks.
    let task = "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}";
    // Slurm ends the script meanwhile: to exit first would leave a failed task.
    lines.push(format!("        scontrol requeue \"{task}\" && sleep 60"));
    lines.push("    fi".to_string());
    lines.push("fi".to_string());
    lines.push("exit \"$code\"".to_string());
    Ok(lines.join("\n") + "\n")
}

/// Whether an option, with or without its value, is the one of this name.
fn is_option(option: &str, name: &str) -> bool {
    if !name.starts_with("--") {
        // Its value may follow without a space.
        return option.starts_with(name) && !option.starts_with("--");
    }
    let given = option.split(['=', ' ']).next().unwrap_or_default();
    // sbatch takes a long option's beginning for it. One letter would be ambiguous to it.
    given.len() > "--o".len() && name.starts_with(given)
}

/// Words as a line of sh.
fn sentence(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

fn refused(what: &str, problem: &str) -> SweepError {
    SweepError::Job {
        problem: format!("{what:?} {problem}"),
    }
}
