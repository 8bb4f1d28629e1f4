//! Workers on other machines, and what training leaves, without training.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use plw_files::write_atomic;
use plw_record::{RunConfig, RunDirectory, TrainingSummary, update_latest};
use plw_sweep::{Lease, Taken, Worker, take};

/// Seconds of a lease: longer than any test.
pub(crate) const LEASE: u32 = 600;

/// A worker on another machine, of which nobody here can tell whether it has ended.
pub(crate) fn on(host: &str) -> Worker {
    Worker {
        host: host.to_string(),
        numbered_in: None,
        ..Worker::this()
    }
}

/// Takes a run that is free.
pub(crate) fn lease(run: &RunDirectory, host: &str) -> Result<Lease, Box<dyn Error>> {
    match take(run, &on(host), LEASE)? {
        Taken::Lease(lease) => Ok(lease),
        other => Err(format!("{host}: {other:?}").into()),
    }
}

/// Makes an attempt look as if its worker had been silent for longer than the lease.
pub(crate) fn silence(lease: &Lease) -> Result<(), Box<dyn Error>> {
    let heartbeat = lease.directory().path.with_file_name("heartbeat.json");
    let long_ago = SystemTime::now() - Duration::from_secs(2 * u64::from(LEASE));
    File::options()
        .write(true)
        .open(heartbeat)?
        .set_modified(long_ago)?;
    Ok(())
}

/// Leaves a checkpoint of a step, in which stands who made it.
pub(crate) fn save(directory: &RunDirectory, step: u64, by: &str) -> Result<(), Box<dyn Error>> {
    let name = format!("step-{step}");
    RunConfig::default().write(directory.config())?;
    write_atomic(directory.metrics(), format!("rows until {step}"))?;
    write_atomic(directory.predictions(step), by)?;
    write_atomic(directory.checkpoints().join(&name).join("weights"), by)?;
    update_latest(directory.checkpoints(), &name)?;
    Ok(())
}

/// Leaves the result of a run, in whose last checkpoint stands who made it.
pub(crate) fn finish(directory: &RunDirectory, by: &str) -> Result<(), Box<dyn Error>> {
    save(directory, 9, by)?;
    directory.write_summary(&TrainingSummary {
        config_hash: RunConfig::default().hash(),
        ..TrainingSummary::default()
    })?;
    Ok(())
}

/// Who made the result.
pub(crate) fn made_by(run: &RunDirectory) -> Result<String, Box<dyn Error>> {
    Ok(fs::read_to_string(
        run.checkpoints().join("step-9/weights"),
    )?)
}

/// The names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let names = entries.iter().map(|entry| entry.file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into()).collect();
    names.sort();
    Ok(names)
}
