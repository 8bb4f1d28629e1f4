//! What the tasks of a job array ask Slurm for.

use serde::{Deserialize, Serialize};

use crate::SweepError;
use crate::job::text_or_number;

/// Seconds that a run has from the signal before the time limit until its step is killed.
const SECONDS_BEFORE_END: u32 = 60;

/// Short options of sbatch that take no value, so that others may follow in the same word.
const FLAGS: [&str; 8] = ["-H", "-O", "-s", "-Q", "-v", "-W", "-k", "-I"];

/// Seconds that stopping and going back into the queue may need.
const LEAST_SECONDS_BEFORE_END: u32 = 10;

/// Seconds before the time limit at which Slurm can send a signal, at most.
const MOST_SECONDS_BEFORE_END: u32 = 65535;

/// Digits of a number that sbatch surely holds.
const MOST_DIGITS: usize = 9;

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
    #[serde(deserialize_with = "text_or_number")]
    pub time: Option<String>,
    /// Processes that share a run, each with its own processors and GPUs; plw must be built for it.
    pub processes: Option<u32>,
    /// How srun connects them, such as `pmix`: one of `srun --mpi=list`, if not the site's default.
    pub mpi: Option<String>,
    /// Processors of a process, and so threads.
    pub cpus_per_task: Option<u32>,
    /// Memory, such as `32G`.
    #[serde(deserialize_with = "text_or_number")]
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

/// An option of sbatch that a setting gives.
struct Given {
    /// Its name, without dashes.
    name: &'static str,
    /// Its short form.
    short: &'static str,
    setting: &'static str,
    value: String,
}

impl SlurmSettings {
    /// The options of sbatch that they ask for, as `--name=value`.
    pub(crate) fn sbatch_options(&self) -> Result<Vec<String>, SweepError> {
        self.check()?;
        let given = self.given();
        let mut options = Vec::new();
        for Given {
            name,
            setting,
            value,
            ..
        } in &given
        {
            if !is_word(value) {
                let problem = format!(
                    "is no value of sbatch's --{name}, which `{setting}` of [cluster.slurm] gives: \
                     write one word, without quotation marks and #"
                );
                return Err(refused(value, &problem));
            }
            options.push(format!("--{name}={value}"));
        }
        for option in &self.options {
            if !option.starts_with('-') {
                let problem = "is no option of sbatch: it begins with no `--`";
                return Err(refused(option, problem));
            }
            if option
                .split_whitespace()
                .skip(1)
                .any(|word| word.starts_with('-'))
            {
                return Err(refused(
                    option,
                    "holds several options: write them one by one",
                ));
            }
            if FLAGS
                .iter()
                .any(|flag| option.starts_with(flag) && option != flag)
            {
                let problem = "joins several short options: write them one by one";
                return Err(refused(option, problem));
            }
            if OURS.iter().any(|ours| is_option(option, ours)) {
                let problem = "is an option that plw decides: remove it from `options`";
                return Err(refused(option, problem));
            }
            if is_option(option, "--time") || is_option(option, "-t") {
                let problem = "is `time` of [cluster.slurm]: write it there";
                return Err(refused(option, problem));
            }
            let is_given = |given: &&Given| {
                is_option(option, &format!("--{}", given.name)) || is_option(option, given.short)
            };
            if let Some(Given { setting, .. }) = given.iter().find(is_given) {
                let problem = format!("is in `options`, and `{setting}` is set: remove one");
                return Err(refused(option, &problem));
            }
        }
        options.extend(self.options.iter().cloned());
        Ok(options)
    }

    fn given(&self) -> Vec<Given> {
        let number = |value: Option<u32>| value.map(|value| value.to_string());
        let gpus = match self.processes {
            Some(_) => ("gpus-per-task", "--gpus-per-task"),
            None => ("gpus", "-G"),
        };
        let all = [
            ("partition", "-p", "partition", self.partition.clone()),
            ("account", "-A", "account", self.account.clone()),
            ("time", "-t", "time", self.time.clone()),
            ("ntasks", "-n", "processes", number(self.processes)),
            (
                "cpus-per-task",
                "-c",
                "cpus_per_task",
                number(self.cpus_per_task),
            ),
            ("mem", "--mem", "memory", self.memory.clone()),
            (
                gpus.0,
                gpus.1,
                "gpus",
                number(self.gpus.filter(|&gpus| gpus > 0)),
            ),
        ];
        let all = all.into_iter().map(|(name, short, setting, value)| {
            let value = value?;
            Some(Given {
                name,
                short,
                setting,
                value,
            })
        });
        all.flatten().collect()
    }

    fn check(&self) -> Result<(), SweepError> {
        if let Some(line) = self.setup.iter().find(|line| line.contains("#SBATCH")) {
            let problem = "in `setup` would be read as an option: write it into `options`";
            return Err(refused(line, problem));
        }
        if let Some(mpi) = self.mpi.as_ref().filter(|mpi| !is_word(mpi)) {
            let problem = "is no value of `mpi`: write one that `srun --mpi=list` shows";
            return Err(refused(mpi, problem));
        }
        for (name, count) in [
            ("processes", self.processes),
            ("cpus_per_task", self.cpus_per_task),
        ] {
            if count == Some(0) {
                let given = format!("{name} = 0");
                return Err(refused(&given, "leaves nobody to do the runs"));
            }
        }
        let before_end = format!("seconds_before_end = {}", self.seconds_before_end);
        let (least, most) = (LEAST_SECONDS_BEFORE_END, MOST_SECONDS_BEFORE_END);
        if !(least..=most).contains(&self.seconds_before_end) {
            let problem = format!(
                "leaves no time to stop and to go back into the queue, or is more than Slurm \
                 takes: write {least} to {most}"
            );
            return Err(refused(&before_end, &problem));
        }
        if let Some(time) = &self.time {
            let Some(seconds) = time_limit(time) else {
                let problem = "is no time limit (`time`): write hours:minutes:seconds, \
                               days-hours:minutes:seconds, or minutes";
                return Err(refused(time, problem));
            };
            if seconds <= self.seconds_before_end.into() {
                let problem = format!("leaves no time to train: `time` is {time}, {seconds} s");
                return Err(refused(&before_end, &problem));
            }
        }
        if let Some(memory) = self.memory.as_ref().filter(|memory| !is_size(memory)) {
            let problem = "is no amount of `memory`: write a number and K, M, G or T, such as 32G";
            return Err(refused(memory, problem));
        }
        Ok(())
    }
}

/// Whether sbatch takes it as one word of a line of a script.
fn is_word(text: &str) -> bool {
    let breaks = |letter: char| letter.is_whitespace() || ['"', '\'', '\\', '#'].contains(&letter);
    !text.is_empty() && !text.contains(breaks)
}

/// The seconds of a time limit, if sbatch takes it as one: minutes, minutes:seconds,
/// hours:minutes:seconds, days-hours, days-hours:minutes, or days-hours:minutes:seconds.
fn time_limit(text: &str) -> Option<u64> {
    const HOUR: u64 = 3600;
    const NO_LIMIT: u64 = u64::MAX;

    if ["unlimited", "infinite"].contains(&&*text.to_ascii_lowercase()) {
        return Some(NO_LIMIT);
    }
    let number = |part: &str| {
        let is_number = (1..=MOST_DIGITS).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse().ok())?
    };
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (Some(number(days)?), clock),
        None => (None, text),
    };
    let parts: Option<Vec<u64>> = clock.split(':').map(number).collect();
    let units = match (parts.as_ref()?.len(), days) {
        (1 | 2, None) => [60, 1, 0],
        (1..=3, _) => [HOUR, 60, 1],
        _ => return None,
    };
    let clock: u64 = parts?
        .iter()
        .zip(units)
        .map(|(part, unit)| part * unit)
        .sum();
    match days.unwrap_or(0) * 24 * HOUR + clock {
        0 => Some(NO_LIMIT),
        seconds => Some(seconds),
    }
}

/// Whether sbatch takes it as an amount of memory.
fn is_size(text: &str) -> bool {
    let letters = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let suffixes = ["", "k", "m", "g", "t", "kb", "mb", "gb", "tb"];
    (1..=MOST_DIGITS).contains(&(text.len() - letters.len()))
        && suffixes.contains(&&*letters.to_ascii_lowercase())
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

/// An error over what a setting says.
pub(crate) fn refused(what: &str, problem: &str) -> SweepError {
    SweepError::Job {
        problem: format!("{what:?} {problem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_is_read_as_slurm_reads_it() {
        for (text, seconds) in [
            ("90", Some(5400)),
            ("1:30", Some(90)),
            ("2:00:01", Some(7201)),
            ("1-12", Some(36 * 3600)),
            ("1-0:30", Some(86_400 + 1800)),
            ("1-1:1:1", Some(86_400 + 3661)),
            ("0", Some(u64::MAX)),
            ("Unlimited", Some(u64::MAX)),
            ("1:2:3:4", None),
            ("-2", None),
            ("1-", None),
            ("+2", None),
            ("", None),
        ] {
            assert_eq!(time_limit(text), seconds, "{text:?}");
        }
    }
}
