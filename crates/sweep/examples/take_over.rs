//! A worker is silent for longer than its lease, and another one takes its run over.

use std::fs::File;
use std::time::{Duration, SystemTime};

use plw_record::{RunConfig, RunDirectory, TrainingSummary};
use plw_sweep::{Lease, Taken, Worker, take};

/// Seconds of a lease.
const LEASE: u32 = 600;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let run = RunDirectory::new(folder.path().join("seed-1"));
    let first = lease(take(&run, &on("node-1"), LEASE)?)?;
    println!("node-1 makes attempt {}", first.attempt().number);
    if let Taken::Held(attempt) = take(&run, &on("node-2"), LEASE)? {
        println!("node-2 finds that {} is at work", attempt.worker);
    }

    // As if node-1 had been stopped for longer than its lease.
    let heartbeat = first.directory().path.with_file_name("heartbeat.json");
    let long_ago = SystemTime::now() - Duration::from_secs(1000);
    File::options()
        .write(true)
        .open(heartbeat)?
        .set_modified(long_ago)?;
    let second = lease(take(&run, &on("node-2"), LEASE)?)?;
    println!("node-2 makes attempt {}", second.attempt().number);

    for (node, lease) in [("node-1", first), ("node-2", second)] {
        train(&lease.directory())?;
        let ours = lease.complete()?;
        println!("{node} is done, and its run is published: {ours}");
    }
    Ok(())
}

/// A worker on another machine.
fn on(host: &str) -> Worker {
    Worker {
        host: host.to_string(),
        numbered_in: None,
        ..Worker::this()
    }
}

fn lease(taken: Taken) -> Result<Lease, String> {
    match taken {
        Taken::Lease(lease) => Ok(lease),
        other => Err(format!("the run is not free: {other:?}")),
    }
}

/// Leaves what a complete run leaves.
fn train(directory: &RunDirectory) -> Result<(), Box<dyn std::error::Error>> {
    let config = RunConfig::default();
    config.write(directory.config())?;
    directory.write_summary(&TrainingSummary {
        config_hash: config.hash(),
        ..TrainingSummary::default()
    })?;
    Ok(())
}
