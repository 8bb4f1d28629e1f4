//! Old names, which say the new ones, and keys that are no names.

use std::fs;

use crate::smoke::{Smoke, failed, succeeded};

#[test]
fn an_old_name_works_and_says_the_new_one() {
    let smoke = Smoke::new();
    for (line, notes) in [
        (
            "sweep smoke.toml --out old --list",
            vec!["--output-dir", "--config FILE"],
        ),
        (
            "data synth --config data.toml --out=more",
            vec!["--output-dir"],
        ),
        ("sweep --config smoke.toml --output-dir new --list", vec![]),
        ("data synth --config data.toml --output_dir most", vec![]),
    ] {
        let output = smoke.run(line);
        succeeded(&output);
        let said = String::from_utf8_lossy(&output.stderr);
        let warnings = said.lines().filter(|line| line.contains("WARN")).count();
        assert_eq!(warnings, notes.len(), "{line}: {said}");
        for note in notes {
            assert!(said.contains(note), "{note} is not in {said}");
        }
    }
}

#[test]
fn a_key_that_is_no_setting_writes_nothing() {
    let smoke = Smoke::new();
    fs::write(
        smoke.path("evil.toml"),
        "[sweep]\n\"../../../evil\" = [1]\n",
    )
    .expect("written");
    let said = failed(&smoke.run("sweep --config evil.toml --output-dir deep/out"));
    assert!(said.contains("is not a setting"), "{said}");
    assert!(!smoke.path("deep").exists());
    let line = "sweep --config smoke.toml --output-dir deep/out --seeds 9000000000000000000";
    let said = failed(&smoke.run(line));
    assert!(said.contains("9000000000000000000 seeds"), "{said}");
    assert!(!smoke.path("deep").exists());
}

#[test]
fn a_report_leaves_other_files_alone() {
    let smoke = Smoke::new();
    succeeded(&smoke.run("-q train --config smoke.toml --max-steps 1 --output-dir runs/one"));
    fs::write(smoke.path("README.md"), "# Mine\n").expect("written");
    let said = failed(&smoke.run("report runs --out README.html"));
    assert!(
        said.contains("README.md was not written by a report"),
        "{said}"
    );
    assert_eq!(
        fs::read_to_string(smoke.path("README.md")).expect("there"),
        "# Mine\n"
    );
    assert!(!smoke.path("README.html").exists());
    for _ in 0..2 {
        succeeded(&smoke.run("report runs --output-dir page"));
    }
    assert!(smoke.path("page/report.html").is_file());
}
