//! The threads that a command computes with.

use std::num::NonZero;

use miette::{Result, miette};

/// Says how many threads there are.
pub(crate) const VARIABLE: &str = "RAYON_NUM_THREADS";

/// More threads than any machine has processors to give them, and few enough to start.
const MOST_THREADS: usize = 1024;

/// Starts the threads: as many as there are processors, or their share where several processes
/// compute on them. Otherwise their first use would, which panics where it cannot.
pub(crate) fn start(processes: usize) -> Result<()> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let asked = std::env::var_os(VARIABLE).and_then(|count| count.to_str()?.parse::<usize>().ok());
    let most = MOST_THREADS.max(processors);
    if let Some(asked) = asked.filter(|&asked| asked > most) {
        return Err(miette!(
            help = format!("give at most {most}, or unset it: this machine has {processors}"),
            "{VARIABLE} is {asked}: so many threads cannot be started"
        ));
    }
    let given = asked.filter(|&asked| asked > 0);
    let count = given.unwrap_or((processors / processes.max(1)).max(1));
    rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .build_global()
        .map_err(|error| {
            miette!(
                help = format!(
                    "ask for fewer with {VARIABLE}, or raise the limits on processes and memory \
                     (`ulimit -u`, `ulimit -v`)"
                ),
                "cannot start the {} threads to compute with: {error}",
                count
            )
        })
}
