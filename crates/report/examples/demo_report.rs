//! Writes the records of an invented sweep, and the report that plw-report makes of them.
//!
//!     cargo run --release --example demo_report -- target/demo-report
//!
//! With `conversations` after the folder, the runs are asked no questions and judged by their loss.
//! `demo_sweep` shows which records a trainer of your own must write.

use std::error::Error;
use std::path::PathBuf;

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/demo_sweep/mod.rs"]
mod demo_sweep;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1);
    let folder = PathBuf::from(folder.ok_or("name a folder to write to")?);
    let runs = folder.join("runs");
    let page = folder.join("report.html");

    let weights = [0.0, 0.01, 0.1, 0.5, 1.0];
    match std::env::args().nth(2).as_deref() {
        None => demo_sweep::write_sweep(&runs, &weights, 3, 120)?,
        Some("conversations") => demo_sweep::write_completion_sweep(&runs, &weights, 3, 480)?,
        Some(other) => return Err(format!("{other} is unknown; `conversations` is known").into()),
    }
    let report = plw_report::write_report(&runs, &page)?;

    print!("{}", plw_report::text(&report));
    println!("{}", page.display());
    Ok(())
}
