//! Which sweep a folder holds: the list of its runs, and who may change it.

use std::fs;

use crate::smoke::{Smoke, failed, succeeded};
use crate::sweeps::{RUN, SWEEP, code, events};

/// A folder with a sweep in `grid` whose first run is complete, and `other.toml`, a preset of
/// another sweep with runs of the same names.
fn begun() -> Smoke {
    let smoke = Smoke::new();
    succeeded(&smoke.run(&format!("-q {SWEEP} grid --index 0")));
    let preset = fs::read_to_string(smoke.path("smoke.toml")).expect("there");
    let other = preset.replace("max_steps = 6", "max_steps = 7");
    fs::write(smoke.path("other.toml"), other).expect("written");
    smoke
}

#[test]
fn runs_are_added_to_a_sweep_and_begun_ones_stay_in_it() {
    let smoke = Smoke::new();
    succeeded(&smoke.run(&format!("-q {SWEEP} grid --index 1")));
    let list = || fs::read(smoke.path("grid/sweep.json")).expect("written");
    let before = list();
    let with = |flags: &str| {
        smoke.run(&format!(
            "sweep --config smoke.toml --output-dir grid {flags}"
        ))
    };
    let dropped = "--seeds 1 --prompt-loss-weight 0";
    for how in [
        "",
        "--submit local",
        "--submit slurm",
        "--submit slurm --print",
    ] {
        let output = with(&format!("{dropped} {how}"));
        assert_eq!(code(&output), Some(78), "{how}");
        let said = failed(&output);
        assert!(
            said.contains("whose run seed-1_plw-0.1 has begun"),
            "{said}"
        );
    }
    // A job that is printed may be submitted elsewhere, and leaves nothing here.
    succeeded(&with("--seeds 2 --submit slurm --print"));
    assert_eq!(list(), before);
    assert!(!smoke.path("grid/logs").exists());
    succeeded(&smoke.run("sweep --config smoke.toml --output-dir new --submit slurm --print"));
    assert!(!smoke.path("new").exists());

    // A task that was submitted before runs were added goes on.
    succeeded(&with("--seeds 2 --submit local --workers 99999"));
    assert_ne!(list(), before);
    let logs = fs::read_dir(smoke.path("grid/logs")).expect("made").count();
    assert_eq!(logs, 4, "one worker a run");
    succeeded(&smoke.run(&format!("{SWEEP} grid --index 1")));
    assert_eq!(
        code(&smoke.run(&format!("{SWEEP} grid --index 2"))),
        Some(78)
    );
}

#[test]
fn another_sweep_in_the_folder_is_refused_and_leaves_it_alone() {
    let smoke = begun();
    let list = fs::read(smoke.path("grid/sweep.json")).expect("written");
    for line in ["--index 1", "", "--submit local", "--submit slurm --print"] {
        let line = format!("sweep --config other.toml --seeds 1 --output-dir grid {line}");
        let output = smoke.run(&line);
        assert_eq!(code(&output), Some(78), "{line}");
        assert!(
            failed(&output).contains("`max_steps` was 6, is 7"),
            "{line}"
        );
    }
    let mut plw = smoke.plw(&format!("{SWEEP} grid --index 1"));
    let output = plw.env("PLW_LEARNING_RATE", "0.5").output();
    let said = failed(&output.expect("plw runs"));
    assert!(said.contains("`learning_rate` was"));
    let mut plw = smoke.plw("sweep --config smoke.toml --seeds 1 --output-dir grid --index 0");
    succeeded(
        &plw.env("PLW_LEARNING_RATE", "0.001")
            .output()
            .expect("plw runs"),
    );
    assert_eq!(
        fs::read(smoke.path("grid/sweep.json")).expect("there"),
        list
    );
    assert_eq!(
        events(&smoke.path("grid").join(RUN)),
        ["started", "complete"]
    );
    // Other runs with the same settings may be added.
    succeeded(&smoke.run("-q sweep --config smoke.toml --seeds 2 --output-dir grid"));
}

#[test]
fn a_sweep_is_the_same_from_another_folder_and_in_other_words() {
    let smoke = begun();
    let [preset, grid] = ["smoke.toml", "grid"].map(|name| smoke.path(name).display().to_string());
    let status = || succeeded(&smoke.run("sweep --status grid"));
    let before = status();
    for (name, value) in [("PLW_MAX_STEPS", "06"), ("PLW_SAVE_STEPS", "3")] {
        let mut plw = smoke.plw(&format!(
            "sweep --config {preset} --seeds 1 --output-dir {grid} --index 0"
        ));
        let output = plw.current_dir("/").env(name, value).output();
        succeeded(&output.expect("plw runs"));
    }
    assert_eq!(status(), before);

    // Another one is refused, and changes nothing.
    let mut plw = smoke.plw(&format!("{SWEEP} grid --index 0"));
    let output = plw.env("PLW_MAX_STEPS", "7").output().expect("plw runs");
    assert_eq!(code(&output), Some(78));
    assert_eq!(status(), before);
}

#[test]
fn a_lost_list_is_written_by_its_own_sweep_alone() {
    let smoke = begun();
    let list = smoke.path("grid/sweep.json");
    let whole = fs::read(&list).expect("written");
    for damage in [None, Some("{")] {
        match damage {
            None => fs::remove_file(&list).expect("there"),
            Some(text) => {
                fs::write(&list, text).expect("written");
                let output = smoke.run("sweep --status grid");
                assert_eq!(code(&output), Some(78));
                let said = failed(&output);
                assert!(said.contains("grid/sweep.json is no list"), "{said}");
                assert!(said.contains("start or submit the sweep again"), "{said}");
            }
        }
        for how in ["--index 0", "--index 1", "", "--submit slurm --print"] {
            let line = format!("sweep --config other.toml --seeds 1 --output-dir grid {how}");
            let output = smoke.run(&line);
            assert_eq!(code(&output), Some(78), "{line}");
            assert!(failed(&output).contains("max_steps was 6, is 7"), "{line}");
        }
        assert_ne!(fs::read(&list).ok(), Some(whole.clone()));
        succeeded(&smoke.run(&format!("{SWEEP} grid --index 1")));
        assert_eq!(fs::read(&list).expect("written"), whole);
    }
}

#[test]
fn a_job_does_not_set_what_is_submitted() {
    let smoke = Smoke::new();
    let preset = fs::read_to_string(smoke.path("smoke.toml")).expect("there");
    for (table, scheduler) in [
        (
            "[cluster.slurm]\nsetup = ['export A=1 PLW_SEED=2']",
            "slurm",
        ),
        (
            "[cluster.kubernetes]\nimage = 'a'\n\
             [cluster.kubernetes.container]\nenv = [{name = 'PLW_SEED', value = '2'}]",
            "kubernetes",
        ),
    ] {
        fs::write(smoke.path("job.toml"), format!("{preset}\n{table}\n")).expect("written");
        let line = "sweep --config job.toml --output-dir grid --print --submit";
        let output = smoke.run(&format!("{line} {scheduler}"));
        assert_eq!(code(&output), Some(78));
        assert!(failed(&output).contains("sets PLW_SEED"));
    }
}
