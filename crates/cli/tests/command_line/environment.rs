//! Environment variables that are not what plw expects.

use crate::smoke::{Smoke, failed, succeeded};

#[cfg(unix)]
#[test]
fn a_variable_of_others_need_not_be_utf_8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let smoke = Smoke::new();
    let bad = OsStr::from_bytes(b"\xff");
    for line in [
        "-q plan --config smoke.toml",
        "-q inspect --config smoke.toml --examples 1",
        "-q sweep --config smoke.toml --output-dir sweep --list",
    ] {
        let mut command = smoke.plw(line);
        command.env("BAD", bad).env(bad, "bad");
        succeeded(&command.output().expect("plw runs"));
    }
    let mut command = smoke.plw("plan --config smoke.toml");
    let said = failed(&command.env("PLW_MODEL", bad).output().expect("plw runs"));
    assert!(
        said.contains("PLW_MODEL") && said.contains("UTF-8"),
        "{said}"
    );
}

#[test]
fn a_variable_that_plw_cannot_use_is_named() {
    let smoke = Smoke::new();
    // With a stack that no system has, no thread can be started.
    let stack = (1u64 << 60).to_string();
    for (name, value, says) in [
        ("PLW_LERNING_RATE", "1", "did you mean PLW_LEARNING_RATE?"),
        ("PLW_LOG", "plw=loud", "not a filter of logs"),
        ("RAYON_NUM_THREADS", "100000", "RAYON_NUM_THREADS is 100000"),
        ("RUST_MIN_STACK", &stack, "cannot start the"),
    ] {
        let mut command = smoke.plw("plan --config smoke.toml");
        let said = failed(&command.env(name, value).output().expect("plw runs"));
        assert!(said.contains(says), "{name}={value}: {said}");
    }
}
