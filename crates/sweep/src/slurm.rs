//! A sweep as a job array of Slurm.

use crate::SweepError;
use crate::job::{Job, TRY_AGAIN, plain_name};
use crate::shell::quoted;
use crate::slurm_settings::{SlurmSettings, refused};

/// Seconds that going back into the queue may take after a run has stopped.
const SECONDS_TO_END: u32 = 5;

/// Seconds that stopping may take: less than the 30 between SIGTERM and SIGKILL that Slurm waits by
/// default (`KillWait`).
const STOP_WITHIN: u32 = 20;

/// Times that a task is put back into the queue, so that one that never fits its memory ends.
const MOST_RESTARTS: u32 = 100;

/// Exit codes from here on are signals': 137 where a run was killed for its memory.
const SIGNALS: u32 = 128;

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
    if logs.contains(['"', '\\']) {
        let problem = "has a quotation mark or a backslash: choose another --output-dir";
        return Err(refused(&logs, problem));
    }
    let mut options = vec![
        format!("--job-name=plw-{}", plain_name(&job.name)),
        format!("--array=0-{}%{}", job.runs.saturating_sub(1), job.workers),
        "--requeue".to_string(),
        format!("--signal=USR1@{}", settings.seconds_before_end),
        format!("--output=\"{}/slurm-%a.log\"", logs.replace('%', "%%")),
        "--open-mode=append".to_string(),
    ];
    options.extend(settings.sbatch_options()?);
    if let Some(option) = options
        .iter()
        .find(|option| option.contains(char::is_control))
    {
        return Err(refused(
            option,
            "has a line break or another control character",
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
    // Where the array is submitted with `--export=NONE`, srun would hide them from the run.
    lines.push("export SLURM_EXPORT_ENV=ALL".to_string());
    // srun does not take it over, and with fewer processors a step would compute on one.
    lines.push("export SRUN_CPUS_PER_TASK=\"${SLURM_CPUS_PER_TASK:-1}\"".to_string());
    lines.push("export RAYON_NUM_THREADS=\"$SRUN_CPUS_PER_TASK\"".to_string());
    // What srun exits with where it cannot start the run, as right after a task was put back.
    lines.push(format!("export SLURM_EXIT_ERROR={TRY_AGAIN}"));
    let limit = settings.seconds_before_end - SECONDS_TO_END;
    let mut words = vec!["srun".to_string()];
    words.extend(settings.mpi.as_ref().map(|mpi| format!("--mpi={mpi}")));
    words.extend(job.command(&job.program, STOP_WITHIN.min(limit), limit)?);
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

/// Words as a line of sh.
fn sentence(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}
