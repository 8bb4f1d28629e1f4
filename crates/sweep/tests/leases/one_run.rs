//! One run, and what becomes of its attempts.

use std::error::Error;
use std::fs;

use plw_files::Verified;
use plw_record::RunDirectory;
use plw_sweep::{EventKind, Taken, Worker, note_refusal, read_events, take, tidy};

use crate::trained::{LEASE, finish, lease, made_by, names, on, save, silence};

#[test]
fn a_run_is_done_once() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let run = RunDirectory::new(folder.path().join("seed-1"));
    let first = lease(&run, "a")?;
    for host in ["a", "b"] {
        let Taken::Held(attempt) = take(&run, &on(host), LEASE)? else {
            return Err("it is held".into());
        };
        assert_eq!(&attempt, first.attempt());
    }
    finish(&first.directory(), "a")?;
    assert!(!run.is_complete());
    assert!(first.complete()?);
    assert_eq!(run.read_summary()?.1, Verified::ByDigests);
    assert!(matches!(take(&run, &on("b"), LEASE)?, Taken::Complete));
    let left = [
        "checkpoints",
        "config.toml",
        "events",
        "metrics.jsonl",
        "predictions",
    ];
    assert_eq!(names(&run.path)?, [&left[..], &["summary.json"]].concat());
    Ok(())
}

#[test]
fn the_next_attempt_goes_on_where_the_last_one_was() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let run = RunDirectory::new(folder.path().join("seed-1"));
    let reached = |directory: &RunDirectory| names(&directory.checkpoints());
    let first = lease(&run, "a")?;
    save(&first.directory(), 3, "a")?;
    assert!(first.release().stopped("SIGTERM")?);
    assert!(!first.release().stopped("again")?, "the first counts");
    let second = lease(&run, "b")?;
    assert_eq!(second.attempt().number, 2);
    assert_eq!(reached(&second.directory())?, ["latest", "step-3"]);
    save(&second.directory(), 6, "b")?;
    assert!(second.release().failed("the disk is full", false)?);
    // One that ended before it did anything loses nothing.
    let third = lease(&run, "c")?;
    silence(&third)?;
    drop(third);
    let fourth = lease(&run, "d")?;
    assert_eq!(fourth.attempt().number, 4);
    // Former attempts would keep their checkpoints on disk.
    assert_eq!(
        names(&run.path.join("attempts"))?,
        [fourth.attempt().folder.as_str()]
    );
    assert_eq!(
        reached(&fourth.directory())?,
        ["latest", "step-3", "step-6"]
    );
    finish(&fourth.directory(), "d")?;
    assert!(fourth.complete()?);
    assert_eq!(made_by(&run)?, "d");
    assert_eq!(fs::read_to_string(run.predictions(3))?, "a");
    Ok(())
}

#[test]
fn a_stale_attempt_publishes_nothing() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let run = RunDirectory::new(folder.path().join("seed-1"));
    let stale = lease(&run, "a")?;
    save(&stale.directory(), 3, "a")?;
    silence(&stale)?;
    let second = lease(&run, "b")?;
    // It goes on: checkpoints after it was taken over are used by nobody.
    save(&stale.directory(), 6, "a")?;
    silence(&second)?;
    let third = lease(&run, "c")?;
    assert_eq!(
        names(&third.directory().checkpoints())?,
        ["latest", "step-3"]
    );
    finish(&stale.directory(), "a")?;
    assert!(!stale.release().stopped("SIGTERM")?);
    assert!(!stale.complete()?);
    assert!(!run.is_complete());
    finish(&third.directory(), "c")?;
    finish(&second.directory(), "b")?;
    assert!(third.complete()?);
    assert!(!second.complete()?);
    assert_eq!(made_by(&run)?, "c");
    let events = read_events(&run.path)?;
    let started = events
        .iter()
        .filter(|e| matches!(e.kind, EventKind::Started(_)));
    assert_eq!((started.count(), events.len()), (3, 4));
    Ok(())
}

#[test]
fn a_worker_that_is_seen_to_have_ended_is_not_waited_for() -> Result<(), Box<dyn Error>> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let run = RunDirectory::new(folder.path().join("seed-1"));
    let recycled = Worker {
        start: Some(1),
        ..Worker::this()
    };
    let Taken::Lease(first) = take(&run, &recycled, LEASE)? else {
        return Err("it is free".into());
    };
    let Taken::Lease(second) = take(&run, &Worker::this(), LEASE)? else {
        return Err("its worker has ended".into());
    };
    assert_eq!(second.attempt().number, 2);
    assert!(!first.complete()?);
    Ok(())
}

/// A kill may come between any two moves of the publication.
#[test]
fn a_publication_is_finished_by_whoever_looks_next() -> Result<(), Box<dyn Error>> {
    let records = [
        "checkpoints",
        "config.toml",
        "metrics.jsonl",
        "predictions",
        "summary.json",
    ];
    for moved in 0..=records.len() {
        let folder = tempfile::tempdir()?;
        let run = RunDirectory::new(folder.path().join("seed-1"));
        let first = lease(&run, "a")?;
        let attempt = first.directory();
        finish(&attempt, "a")?;
        fs::create_dir_all(&run.path)?;
        let complete = EventKind::Complete {
            folder: first.attempt().folder.clone(),
        };
        let event = format!("{{\"time\":0,{}", &serde_json::to_string(&complete)?[1..]);
        fs::write(run.path.join("events/000002.json"), event)?;
        for name in &records[..moved] {
            fs::rename(attempt.path.join(name), run.path.join(name))?;
        }
        assert!(matches!(take(&run, &on("b"), LEASE)?, Taken::Complete));
        assert_eq!(run.read_summary()?.1, Verified::ByDigests);
        assert_eq!(made_by(&run)?, "a");
        assert!(!run.path.join("attempts").exists());
        // Killed after the last move, before the attempts were removed.
        fs::create_dir_all(run.path.join("attempts/1-a"))?;
        tidy(&run)?;
        assert!(!run.path.join("attempts").exists());
        // The event is there already, and it is its own.
        assert!(first.release().stopped("SIGTERM").is_ok_and(|ours| !ours));
    }
    Ok(())
}

#[test]
fn an_event_that_is_none_is_an_error_that_names_it() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let run = RunDirectory::new(folder.path().join("seed-1"));
    fs::create_dir_all(run.path.join("events"))?;
    for text in [
        "",
        "{}",
        "{\"event\":\"started\",\"time\":1}",
        "[]",
        "\u{0}",
    ] {
        fs::write(run.path.join("events/000001.json"), text)?;
        let error = take(&run, &on("a"), LEASE).expect_err(text).to_string();
        assert!(error.contains("000001.json"), "{error}");
    }
    Ok(())
}

#[test]
fn events_that_are_missing_are_damage() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let run = RunDirectory::new(folder.path().join("seed-1"));
    let first = lease(&run, "a")?;
    first.release().stopped("SIGTERM")?;
    fs::remove_file(run.path.join("events/000001.json"))?;
    let error = take(&run, &on("b"), LEASE)
        .expect_err("missing")
        .to_string();
    assert!(error.contains("000001.json is missing"), "{error}");
    // A run whose folder was removed is not brought back by the worker that was at it.
    let other = RunDirectory::new(folder.path().join("seed-2"));
    let second = lease(&other, "a")?;
    fs::remove_dir_all(&other.path)?;
    assert!(second.release().stopped("SIGTERM").is_err());
    assert!(!other.path.join("events/000002.json").exists());
    Ok(())
}

#[test]
fn a_complete_run_without_its_records_says_what_to_do() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let run = RunDirectory::new(folder.path().join("seed-1"));
    let first = lease(&run, "a")?;
    finish(&first.directory(), "a")?;
    assert!(first.complete()?);
    for record in ["summary.json", "config.toml"] {
        fs::remove_file(run.path.join(record))?;
    }
    let error = take(&run, &on("b"), LEASE).expect_err("gone").to_string();
    assert!(error.contains("remove the run's folder"), "{error}");
    Ok(())
}

#[test]
fn a_run_that_cannot_be_begun_says_why_once() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let run = RunDirectory::new(folder.path().join("seed-1"));
    for reason in ["no model", "no model", "no data"] {
        note_refusal(&run, &on("a"), reason)?;
    }
    assert_eq!(read_events(&run.path)?.len(), 2);
    let held = lease(&run, "a")?;
    assert_eq!(held.attempt().number, 1);
    note_refusal(&run, &on("b"), "no data")?;
    assert_eq!(read_events(&run.path)?.len(), 3, "somebody is at it");
    Ok(())
}

#[test]
fn a_long_reason_is_shortened_and_read_again() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let run = RunDirectory::new(folder.path().join("seed-1"));
    let reason = "ä\n".repeat(100_000);
    lease(&run, "a")?.release().failed(&reason, true)?;
    let events = read_events(&run.path)?;
    let Some(EventKind::Failed { reason: told, .. }) = events.last().map(|event| &event.kind)
    else {
        panic!("{} events", events.len());
    };
    assert!(told.ends_with(" ...") && reason.starts_with(&told[..told.len() - 4]));
    Ok(())
}
