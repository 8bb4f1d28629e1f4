//! Names in the files of a sweep that lead out of its folder.

use std::error::Error;
use std::fs;

use plw_record::RunDirectory;
use plw_sweep::{ListedRun, SweepList, read_list, take, write_list};
use serde_json::json;

use crate::trained::{LEASE, names, on};

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
        let started = json!({"time": 1, "event": "started", "number": 1, "folder": name,
                             "lease_seconds": LEASE, "worker": on("a")});
        fs::write(run.path.join("events/000001.json"), started.to_string())?;
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
