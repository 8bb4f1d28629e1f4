//! Changed copies of what workers write about a run: they are read, or refused with an error that
//! names the file, and nothing outside the run's folder is touched.

use std::error::Error;
use std::fs;

use plw_mutate::{edited, edits, mutated, mutations, try_all, with_little_memory};
use plw_record::RunDirectory;
use plw_sweep::{ListedRun, SweepList, read_events, read_list, status, take, write_list};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::trained::{LEASE, lease, names, on};

fn started(folder: &str) -> Value {
    json!({"time": 1, "event": "started", "number": 1, "folder": folder, "lease_seconds": 60,
           "worker": {"host": "a", "process": 7, "start": 3, "numbered_in": "b"}})
}

#[test]
fn any_event_is_read_or_refused() {
    with_little_memory("hostile::any_event_is_read_or_refused", || {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let run = RunDirectory::new(folder.path().join("seed-1"));
        fs::create_dir_all(run.path.join("events")).expect("made");
        let good = started("1-a-7-b");
        let cases = (mutations(), prop::option::weighted(0.3, edits(1)));
        try_all(2000, cases, |(mutations, edits)| {
            let text = mutated(&good, &mutations).to_string().into_bytes();
            let text = edits.map_or(text.clone(), |edits| edited(&text, &edits, &[b"}"]));
            fs::write(run.path.join("events/000001.json"), &text).expect("written");
            match read_events(&run.path) {
                Ok(events) => assert_eq!(events.len(), 1),
                Err(error) => assert!(error.to_string().contains("000001.json"), "{error}"),
            }
            serde_json::from_slice::<Value>(&text).is_ok()
        });
    });
}

#[test]
fn any_list_and_any_heartbeat_are_read_or_refused() {
    let name = "hostile::any_list_and_any_heartbeat_are_read_or_refused";
    with_little_memory(name, || {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let held = lease(&RunDirectory::new(folder.path().join("seed-1")), "a").expect("free");
        let heartbeat = held.directory().path.with_file_name("heartbeat.json");
        let runs = json!([{"index": 0, "name": "seed-1", "settings": {"seed": 1}}]);
        let list = json!({"settings": {"max_steps": 3}, "runs": runs});
        let beat = json!({"beat": 3, "phase": "training", "step": 3, "total_steps": 9,
                          "seconds_per_step": 0.5});
        try_all(
            1000,
            (mutations(), any::<bool>()),
            |(mutations, is_list)| {
                let good = [&beat, &list][usize::from(is_list)];
                let text = mutated(good, &mutations).to_string();
                let [list, beat] = match is_list {
                    true => [text.clone(), beat.to_string()],
                    false => [list.to_string(), text.clone()],
                };
                fs::write(folder.path().join("sweep.json"), list).expect("written");
                fs::write(&heartbeat, beat).expect("written");
                match status(folder.path()) {
                    Ok(runs) => assert!(runs.len() <= 8),
                    Err(error) => assert!(error.to_string().contains("sweep.json"), "{error}"),
                }
                text.starts_with(['[', '{'])
            },
        );
    });
}

#[test]
fn names_that_lead_elsewhere_are_refused_and_nothing_is_removed() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let run = RunDirectory::new(folder.path().join("grid/seed-1"));
    fs::create_dir_all(run.path.join("events"))?;
    fs::write(folder.path().join("thesis.tex"), "years of work")?;
    let absolute = folder.path().display().to_string();
    for name in [
        "..",
        "../..",
        "../../..",
        ".",
        "",
        "a/../../..",
        "a/b",
        absolute.as_str(),
    ] {
        fs::write(
            run.path.join("events/000001.json"),
            started(name).to_string(),
        )?;
        let error = take(&run, &on("a"), LEASE).expect_err(name).to_string();
        assert!(error.contains("000001.json"), "{error}");
        let complete = json!({"time": 1, "event": "complete", "folder": name});
        fs::write(run.path.join("events/000001.json"), complete.to_string())?;
        assert!(take(&run, &on("a"), LEASE).is_err(), "{name}");
    }
    assert_eq!(names(folder.path())?, ["grid", "thesis.tex"]);
    for name in ["..", "a/b", ""] {
        let listed = ListedRun {
            index: 0,
            name: name.to_string(),
            settings: serde_json::Map::new(),
        };
        let list = SweepList {
            runs: vec![listed],
            ..SweepList::default()
        };
        write_list(folder.path(), &list)?;
        assert!(read_list(folder.path()).is_err(), "{name}");
    }
    Ok(())
}
