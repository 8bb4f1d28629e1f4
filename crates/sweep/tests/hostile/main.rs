//! Changed copies of what workers write about their runs: they are read, or refused with an error
//! that names the file, in little memory.

mod readers;

use std::path::Path;

use plw_mutate::{edited, edits, mutated, mutations, try_all, with_little_memory};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Gives a reader changed copies of a good file: other values, and at times other bytes.
fn changed_copies(test: &str, good: &Value, read: fn(&Path, &[u8]) -> bool) {
    with_little_memory(test, || {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let cases = (mutations(), prop::option::weighted(0.3, edits(1)));
        try_all(2000, cases, |(mutations, edits)| {
            let text = mutated(good, &mutations).to_string().into_bytes();
            let text = edits.map_or(text.clone(), |edits| edited(&text, &edits, &[b"}"]));
            read(folder.path(), &text)
        });
    });
}

#[test]
fn any_event_is_read_or_refused() {
    let started = json!({"time": 1, "event": "started", "number": 1, "folder": "1-a-7-b",
                         "lease_seconds": 60, "worker": {"host": "a", "process": 7, "start": 3,
                         "numbered_in": "b"}});
    changed_copies("any_event_is_read_or_refused", &started, readers::event);
}

#[test]
fn any_list_is_read_or_refused() {
    let runs = json!([{"index": 0, "name": "seed-1", "settings": {"seed": 1}},
                      {"index": 1, "name": "seed-2", "settings": {"seed": 2}}]);
    let list = json!({"settings": {"max_steps": 3}, "runs": runs});
    changed_copies("any_list_is_read_or_refused", &list, readers::list);
}

#[test]
fn any_heartbeat_is_read_or_passed_over() {
    let beat = json!({"beat": 3, "phase": "training", "step": 3, "total_steps": 9,
                      "seconds_per_step": 0.5});
    let test = "any_heartbeat_is_read_or_passed_over";
    changed_copies(test, &beat, readers::heartbeat);
}
