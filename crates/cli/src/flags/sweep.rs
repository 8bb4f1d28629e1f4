//! What `plw sweep` takes.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

/// Seconds of a lease that is not asked for otherwise.
pub(crate) const DEFAULT_LEASE: u32 = 60;

#[derive(Debug, Clone, Args)]
pub(crate) struct SweepFlags {
    /// A preset: a TOML file of settings with a table `sweep` of lists, such as
    /// `prompt_loss_weight = [0, 0.1, 1]`.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["preset", "status"])]
    config: Option<PathBuf>,
    /// The preset, where earlier versions took it.
    #[arg(hide = true, conflicts_with = "config")]
    pub(super) preset: Option<PathBuf>,
    /// Folder of the runs. Workers on several machines share it.
    #[arg(long, value_name = "DIR", required_unless_present = "status")]
    output_dir: Option<PathBuf>,
    /// Prompt loss weights instead of the preset's, separated by commas.
    #[arg(
        long,
        value_name = "X,Y",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub(crate) prompt_loss_weight: Option<Vec<f64>>,
    /// Number of seeds instead of the preset's: 1, 2, ...
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,
    /// Do the run of this index alone, from 0, as --list counts. Exits with 0 once it is complete,
    /// with 75 where another try is needed and with 78 where none would help. Without this flag the
    /// index is SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX or PBS_ARRAY_INDEX, where one is set.
    #[arg(long, value_name = "N")]
    pub(crate) index: Option<usize>,
    /// Seconds without a sign of life after which the run of a worker on another machine is taken
    /// over.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_LEASE,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) lease_seconds: u32,
    /// Seconds that stopping at a checkpoint may take once SIGTERM, SIGUSR1 or Ctrl-C asks for it.
    /// Then the run ends at its last complete checkpoint [default: as long as it takes].
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stop_within: Option<u64>,
    /// Print the command of each run for sh, one per line, or with --json the runs with their
    /// settings, and do none.
    #[arg(long, conflicts_with_all = ["index", "status", "submit"])]
    pub(crate) list: bool,
    /// Print how far each run of the sweep in DIR is, or with --index one of them, and then exit
    /// with 75 if it is not complete.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["submit"])]
    pub(crate) status: Option<PathBuf>,
    /// Keep the status on the screen until every run is complete or has failed.
    #[arg(long, requires = "status", conflicts_with_all = ["json", "index"])]
    pub(crate) watch: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Submit a job with a task for each run. The preset's table `cluster` says what a task asks
    /// for.
    #[arg(long, value_name = "WHERE", conflicts_with = "index")]
    pub(crate) submit: Option<Scheduler>,
    /// Runs at a time, at most all [default: all of a cluster's, 2 of this machine's].
    #[arg(long, value_name = "N", requires = "submit")]
    pub(crate) workers: Option<usize>,
    /// The process that started this one, with which it is to end.
    #[arg(long, hide = true, value_name = "PROCESS")]
    pub(crate) parent: Option<u32>,
    /// Print the job instead of submitting it.
    #[arg(long, requires = "submit")]
    pub(crate) print: bool,
}

/// Where the runs of a sweep are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scheduler {
    /// A job array, by sbatch.
    Slurm,
    /// An Indexed Job, by kubectl.
    Kubernetes,
    /// Processes on this machine, which share its threads.
    Local,
}

impl SweepFlags {
    /// The preset.
    pub(crate) fn config(&self) -> &Path {
        let given = self.config.as_ref().or(self.preset.as_ref());
        given.expect("clap requires one of them")
    }

    /// The folder of the runs.
    pub(crate) fn output_dir(&self) -> &Path {
        let given = self.output_dir.as_ref().or(self.status.as_ref());
        given.expect("clap requires one of them")
    }
}
