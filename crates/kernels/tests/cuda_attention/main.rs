//! Attention's CUDA kernels without a GPU: `block.h` runs them on the CPU thread by thread, and
//! `attention.cc` compares what they compute with f64. Needs a C++ compiler: `c++`, or the one that
//! the environment variable `CXX` names.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

fn check(head_dim: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let here = root.join("tests/cuda_attention");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("attention-{head_dim}"));
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_string());
    let compiled = Command::new(&compiler)
        // As NVRTC does, products and sums become one operation, where the processor has that.
        .args(["-std=c++17", "-O2", "-march=native", "-ffp-contract=fast"])
        .arg("-Wno-unknown-pragmas")
        .arg(format!("-DHEAD_DIM={head_dim}"))
        .arg(format!(
            "-I{}",
            root.join("src/cube/cuda/attention").display()
        ))
        .arg(here.join("attention.cc"))
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap_or_else(|error| {
            panic!("`{compiler}` does not run: {error}. Install it or set CXX")
        });
    let log = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{compiler}: {log}");

    let run = Command::new(&program).args(["5", "1"]).output();
    let run = run.expect("the compiler left a program");
    let [found, log] = [&run.stdout, &run.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(run.status.success(), "{found}{log}{}", run.status);
}

#[test]
fn heads_of_64_equal_their_reference() {
    check(64);
}

#[test]
fn heads_of_128_equal_their_reference() {
    check(128);
}
