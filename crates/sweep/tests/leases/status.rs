//! The state of every run of a sweep.

use std::error::Error;
use std::fs;

use plw_record::{RunConfig, RunDirectory};
use plw_sweep::{ListedRun, State, SweepList, read_list, status, write_list};

use crate::trained::{finish, lease, save, silence};

#[test]
fn every_state_is_told() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let names = [
        "waiting", "running", "silent", "stopped", "failed", "complete", "alone", "damaged",
    ];
    let runs: Vec<ListedRun> = (0..)
        .zip(names)
        .map(|(index, name)| ListedRun {
            index,
            name: name.to_string(),
            settings: serde_json::Map::new(),
        })
        .collect();
    let error = status(folder.path()).expect_err("no list").to_string();
    assert!(error.contains("holds no sweep"), "{error}");
    let list = SweepList {
        runs,
        ..SweepList::default()
    };
    write_list(folder.path(), &list)?;
    assert_eq!(read_list(folder.path())?, list);
    let run = |name: &str| RunDirectory::new(folder.path().join(name));

    let running = lease(&run("running"), "a")?;
    running.progress().update(|progress| {
        progress.phase = "training".to_string();
        (progress.step, progress.total_steps) = (3, 12);
        progress.seconds_per_step = Some(0.5);
    });
    // As the next beat would.
    let heartbeat = running.directory().path.with_file_name("heartbeat.json");
    let told = serde_json::json!({"beat": 1, "phase": "training", "step": 3,
                                  "total_steps": 12, "seconds_per_step": 0.5});
    fs::write(heartbeat, told.to_string())?;
    let silent = lease(&run("silent"), "b")?;
    save(&silent.directory(), 4, "b")?;
    silence(&silent)?;
    lease(&run("stopped"), "c")?.release().stopped("SIGTERM")?;
    lease(&run("failed"), "d")?
        .release()
        .failed("not finite", true)?;
    let complete = lease(&run("complete"), "e")?;
    finish(&complete.directory(), "e")?;
    complete.complete()?;
    RunConfig::default().write(run("alone").config())?;
    save(&run("alone"), 7, "f")?;

    fs::create_dir_all(run("damaged").path.join("events"))?;
    fs::write(run("damaged").path.join("events/000001.json"), "")?;
    let told = status(folder.path())?;
    let states: Vec<State> = told.iter().map(|run| run.state).collect();
    let expected = [
        State::Waiting,
        State::Running,
        State::Silent,
        State::Stopped,
        State::Failed,
        State::Complete,
        State::Stopped,
        State::Failed,
    ];
    assert_eq!(states, expected);
    let running = &told[1];
    let host = running.worker.as_ref().map(|worker| worker.host.as_str());
    assert_eq!((host, running.attempts), (Some("a"), 1));
    assert_eq!((running.step, running.total_steps), (Some(3), Some(12)));
    assert_eq!(running.seconds_left, Some(4.5));
    assert_eq!((told[2].step, told[6].step), (Some(4), Some(7)));
    assert_eq!(told[3].reason.as_deref(), Some("SIGTERM"));
    assert_eq!(told[4].reason.as_deref(), Some("not finite"));
    let _writes = run("alone").create()?;
    let told = status(folder.path())?;
    assert_eq!((told[6].state, told[6].step), (State::Running, Some(7)));
    Ok(())
}
