//! The readers of what workers write about their runs, as plain functions of bytes, for property
//! tests and for fuzzers. Each may refuse but not panic, and names the file when it refuses. The
//! results say whether the bytes passed the first check of their format.

use std::fs;
use std::path::Path;

use plw_record::RunDirectory;
use plw_sweep::{
    ListedRun, SweepList, Taken, Worker, read_events, read_list, status, take, write_list,
};
use serde_json::{Map, Value};

/// The run in the folder.
const RUN: &str = "seed-1";

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes).is_ok()
}

/// An event of a run.
pub(crate) fn event(folder: &Path, bytes: &[u8]) -> bool {
    let run = folder.join(RUN);
    fs::create_dir_all(run.join("events")).expect("made");
    fs::write(run.join("events/000001.json"), bytes).expect("written");
    match read_events(&run) {
        Ok(events) => assert_eq!(events.len(), 1),
        Err(error) => assert!(error.to_string().contains("000001.json"), "{error}"),
    }
    is_json(bytes)
}

/// `sweep.json`, the list of the runs.
pub(crate) fn list(folder: &Path, bytes: &[u8]) -> bool {
    fs::write(folder.join("sweep.json"), bytes).expect("written");
    match read_list(folder) {
        Ok(list) => {
            let folders = status(folder).expect("a list that can be read").len();
            assert_eq!(folders, list.runs.len());
        }
        Err(error) => assert!(error.to_string().contains("sweep.json"), "{error}"),
    }
    is_json(bytes)
}

/// The heartbeat of a worker. What it says of a run's progress is only shown: a worker whose
/// heartbeat cannot be read is still at work.
pub(crate) fn heartbeat(folder: &Path, bytes: &[u8]) -> bool {
    let listed = ListedRun {
        index: 0,
        name: RUN.to_string(),
        settings: Map::new(),
    };
    let sweep = SweepList {
        runs: vec![listed],
        ..SweepList::default()
    };
    write_list(folder, &sweep).expect("written");
    let run = RunDirectory::new(folder.join(RUN));
    let elsewhere = Worker {
        host: "elsewhere".to_string(),
        ..Worker::this()
    };
    let held = match take(&run, &elsewhere, u32::MAX).expect("it can be taken") {
        Taken::Lease(lease) => lease.attempt().clone(),
        Taken::Held(attempt) => attempt,
        Taken::Complete => panic!("nobody has done the run"),
    };
    let attempt = plw_sweep::attempt_directory(&run, &held.folder).path;
    fs::write(attempt.with_file_name("heartbeat.json"), bytes).expect("written");
    plw_sweep::beat(&run, &held);
    let runs = status(folder).expect("the list is whole");
    assert!(serde_json::to_string(&runs).is_ok());
    is_json(bytes)
}
