//! A report of a sweep of which one file, chosen by the first byte, has other bytes.

#![no_main]

#[path = "../../crates/report/tests/demo_sweep/mod.rs"]
#[allow(dead_code, reason = "each target calls one of the readers")]
mod demo_sweep;
#[path = "../../crates/report/tests/hostile/readers.rs"]
#[allow(dead_code, reason = "each target calls one of the readers")]
mod readers;

use libfuzzer_sys::fuzz_target;
use plw_fuzz::folder;
use plw_record::RunDirectory;

fuzz_target!(|bytes: &[u8]| {
    let Some((&which, bytes)) = bytes.split_first() else {
        return;
    };
    let sweep = folder().join("sweep");
    let run = RunDirectory::new(sweep.join("plw-0-seed-1"));
    if !run.is_complete() {
        demo_sweep::write_sweep(&sweep, &[0.0, 1.0], 2, 2).expect("written");
    }
    let files = [
        run.summary(),
        run.config(),
        run.metrics(),
        run.evaluations(),
        run.predictions(200),
    ];
    let file = &files[usize::from(which) % files.len()];
    let good = std::fs::read(file).expect("there");
    std::fs::write(file, bytes).expect("written");
    readers::report(&sweep);
    std::fs::write(file, good).expect("written");
});
