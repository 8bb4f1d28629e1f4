//! A file that may not grow ends a command as a full disk does: with an error that names the file,
//! and with what the next attempt needs.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs plw where files may have this many blocks of 512 bytes.
fn plw(blocks: &str, arguments: &str) -> Output {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Command::new("sh")
        .args(["-c", "ulimit -f \"$0\" && exec \"$@\"", blocks])
        .arg(env!("CARGO_BIN_EXE_plw"))
        .args(arguments.split(' '))
        .current_dir(workspace)
        .output()
        .expect("sh runs")
}

fn succeeds(arguments: &str) {
    let output = plw("unlimited", arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {said}");
}

/// The command fails, with an error that says why and names a file.
fn fails(blocks: &str, arguments: &str, file: &str) {
    let output = plw(blocks, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments}: {said}");
    // The report breaks its lines anywhere.
    let said: String = said
        .split_whitespace()
        .filter(|word| *word != "│")
        .collect();
    assert!(
        said.contains("Filetoolarge") && said.contains(file),
        "{said}"
    );
    assert!(
        said.contains("ulimit-f") && !said.contains(".partial"),
        "{said}"
    );
}

/// Every file below a folder, by name, with what it holds.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).expect("below it").to_path_buf();
                    found.push((name, fs::read(&path).expect("a file")));
                }
            }
        }
    }
    found.sort();
    found
}

#[test]
fn data_that_was_half_made_is_made_again() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let synth = |out: &Path| {
        let config = "experiments/data/smoke.toml";
        format!("data synth --config {config} --out {}", out.display())
    };
    succeeds(&synth(&whole));
    fails("4", &synth(&parts), ".parquet");
    let mark = parts.join(".unfinished");
    let marked = fs::read(&mark).expect("it is marked as unfinished");
    // As a kill leaves them.
    fs::create_dir_all(parts.join("high")).expect("made");
    for name in [
        ".unfinished.1-0.partial",
        "high/.train-00000-of-00001.parquet.1-0.partial",
    ] {
        fs::write(parts.join(name), "half").expect("written");
    }
    succeeds(&synth(&parts));
    assert!(files(&parts) == files(&whole));
    // Killed right before the mark went.
    fs::write(&mark, marked).expect("written");
    succeeds(&synth(&parts));
    assert!(files(&parts) == files(&whole));
    // It is complete now: the same command leaves it alone, and another does not write over it.
    succeeds(&synth(&parts));
    let other = plw("unlimited", &format!("{} --seed 5", synth(&parts)));
    assert_eq!(other.status.code(), Some(1));
    assert!(files(&parts) == files(&whole));
}

#[test]
fn a_run_without_room_for_its_checkpoint_resumes_when_there_is_some() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, run, whole) = (path("data"), path("run"), path("whole"));
    succeeds(&format!(
        "data synth --config experiments/data/smoke.toml --out {data}"
    ));
    let train = |output_dir: &str| {
        format!(
            "train --resume --config experiments/smoke.toml --train-data {data} \
             --eval-data {data} --max-steps 2 --output-dir {output_dir}"
        )
    };
    succeeds(&train(&whole));
    // Room for the logs and predictions, and not for the weights.
    fails("600", &train(&run), "model.safetensors");
    assert!(!Path::new(&run).join("summary.json").exists());
    succeeds(&train(&run));
    let weights = |run: &str| {
        let file = Path::new(run).join("checkpoints/step-2/model.safetensors");
        fs::read(file).expect("saved")
    };
    assert!(weights(&run) == weights(&whole));
}
