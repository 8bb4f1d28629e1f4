//! A sweep as a job of a cluster's scheduler: one task a run, each with its index.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::SweepError;

/// The exit code that asks for another try: the run stopped at a checkpoint, or somebody else has
/// it. `EX_TEMPFAIL` of sysexits.h.
pub const TRY_AGAIN: u8 = 75;

/// The exit code of settings that make no sense: another try would end the same. `EX_CONFIG` of
/// sysexits.h.
pub const NEVER: u8 = 78;

/// The exit code of wrong arguments, with which another try fails as well.
pub const WRONG_ARGUMENTS: u8 = 2;

/// What a job does.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// The runs of the sweep.
    pub runs: usize,
    /// Runs at a time.
    pub workers: usize,
    /// `plw`.
    pub program: PathBuf,
    /// The arguments that make it do a run, but for the index, which it takes from the scheduler.
    pub arguments: Vec<String>,
    /// The folder that it starts in.
    pub working_directory: PathBuf,
    /// The sweep's folder.
    pub output_directory: PathBuf,
    /// Environment variables that are settings of the runs.
    pub environment: Vec<(String, String)>,
}

/// Where the workers of the sweep in this folder log.
pub fn logs_of(sweep: &Path) -> PathBuf {
    sweep.join("logs")
}

impl Job {
    /// Where its tasks log. The folder must be there before a task starts.
    pub fn logs(&self) -> PathBuf {
        logs_of(&self.output_directory)
    }

    /// The command, as words. It has `usual` seconds to stop, if the arguments say nothing. More
    /// than `most` are refused: the scheduler kills it then.
    pub(crate) fn command(
        &self,
        program: &Path,
        usual: u32,
        most: u32,
    ) -> Result<Vec<String>, SweepError> {
        const FLAG: &str = "--stop-within";

        let mut words = vec![program.display().to_string()];
        words.extend(self.arguments.iter().cloned());
        let given = words.iter().position(|word| word == FLAG);
        let Some(seconds) = given.and_then(|flag| words.get(flag + 1)) else {
            words.extend([FLAG.to_string(), usual.to_string()]);
            return Ok(words);
        };
        match seconds
            .parse::<u64>()
            .is_ok_and(|seconds| seconds <= most.into())
        {
            true => Ok(words),
            false => Err(SweepError::Job {
                problem: format!(
                    "{FLAG} {seconds} is more than the {most} s that the scheduler leaves a run to \
                     stop: give less, or set seconds_before_end (Slurm) or grace_seconds \
                     (Kubernetes)"
                ),
            }),
        }
    }
}

/// Text, or a whole number that stands for its digits: `cpus = 8` as well as `cpus = "8"`.
pub(crate) fn text_or_number<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected text in quotes, or a whole number")]
    enum Given {
        Text(String),
        Number(u64),
    }
    Ok(Some(match Given::deserialize(deserializer)? {
        Given::Text(text) => text,
        Given::Number(number) => number.to_string(),
    }))
}

/// A name as schedulers take it: lower-case letters, digits and dashes, at most 40.
pub(crate) fn plain_name(name: &str) -> String {
    let letters = name.chars().map(|letter| match letter {
        'a'..='z' | '0'..='9' => letter,
        'A'..='Z' => letter.to_ascii_lowercase(),
        _ => '-',
    });
    let name: String = letters.take(40).collect();
    match name.trim_matches('-') {
        "" => "sweep".to_string(),
        name => name.to_string(),
    }
}
