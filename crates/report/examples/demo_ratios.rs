//! Writes a page about the generation ratios of invented data sets.
//!
//!     cargo run --release --example demo_ratios -- target/demo-ratios

use std::error::Error;
use std::path::PathBuf;

#[path = "../tests/demo_ratios/mod.rs"]
mod demo_ratios;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1);
    let folder = PathBuf::from(folder.ok_or("name a folder to write to")?);
    let report = demo_ratios::report(&[
        ("multiple choice", 20_000, 0.01, 0.5),
        ("classification", 5_000, 0.03, 0.9),
        ("summaries", 8_000, 0.15, 0.6),
        ("questions", 12_000, 0.6, 1.1),
        ("chat", 30_000, 1.4, 1.2),
        ("instructions", 50_000, 3.0, 1.5),
    ]);
    plw_report::write_ratios(&folder, &report)?;
    print!("{}", plw_report::ratio_text(&report));
    println!("\n{}", folder.join("ratio.html").display());
    Ok(())
}
