//! Writes a file and a directory safely, and shows that a failed write leaves no trace:
//! `cargo run --release --example write_safely`.

use std::error::Error;
use std::fs;
use std::path::Path;

use plw_files::{digest_file, remove_partial, write_directory_atomic, write_json_atomic};

fn main() -> Result<(), Box<dyn Error>> {
    let results = std::env::temp_dir().join("plw-files-example");
    // An earlier process may have been killed while it wrote.
    remove_partial(&results)?;

    write_json_atomic(results.join("summary.json"), &[0.5, 0.75])?;
    println!(
        "summary.json: {}",
        digest_file(results.join("summary.json"))?
    );

    let checkpoint = results.join("step-10");
    write_directory_atomic(&checkpoint, |partial| -> Result<(), Box<dyn Error>> {
        println!("while it is written: {}", names(&results)?);
        fs::write(partial.join("weights"), [0; 64])?;
        Ok(())
    })?;
    println!("once it is complete: {}", names(&results)?);

    let failed = write_directory_atomic(&checkpoint, |partial| -> Result<(), Box<dyn Error>> {
        fs::write(partial.join("weights"), [1; 7])?;
        Err("the disk is full".into())
    });
    println!("after a failure ({:?}): {}", failed.err(), names(&results)?);
    let bytes = fs::read(checkpoint.join("weights"))?.len();
    println!("the old weights are still there: {bytes} bytes");
    fs::remove_dir_all(&results)?;
    Ok(())
}

fn names(directory: &Path) -> std::io::Result<String> {
    let names: Result<Vec<String>, _> = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect();
    Ok(names?.join(", "))
}
