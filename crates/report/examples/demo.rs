//! Writes an invented sweep and its report: `cargo run --release -p plw-report --example demo -- DIR`.

use std::path::PathBuf;

#[allow(dead_code)]
#[path = "../tests/demo_sweep/mod.rs"]
mod demo_sweep;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args()
        .nth(1)
        .ok_or("name a directory to write to")?;
    let directory = PathBuf::from(directory);
    demo_sweep::write_sweep(&directory.join("runs"), &[0.0, 0.01, 0.1, 0.5, 1.0], 3, 120)?;
    let page = directory.join("report.html");
    let report = plw_report::write_report(directory.join("runs"), &page)?;
    print!("{}", plw_report::text(&report));
    println!("{}", page.display());
    Ok(())
}
