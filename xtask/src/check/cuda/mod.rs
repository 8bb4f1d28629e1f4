//! `cargo xtask check cuda`: what is CUDA's alone, without a GPU: on an H100 that is emulated, next
//! to the CPU.
//!
//! Kernels, products, copies and collectives are those of a GPU, and so is their order on streams.
//! Speed is not, nor is how tensor cores and cuBLASLt round.

mod emulator;
mod processes;
mod recomputed;

use std::path::Path;
use std::process::Command;

use miette::Result;

use super::device::{Bars, F32, Tested};
use crate::generated;
use crate::peer::environment::without_settings;
use crate::peer::scratch::Scratch;
use crate::process;
use crate::workspace::Workspace;
use emulator::{Emulator, environment};

const DEVICE: &str = "cuda";

/// Tests that run on the device: their name, package and feature.
const TESTS: [(&str, &str, &str); 2] = [
    ("device", "plw-kernels", "nccl"),
    ("golden", "plw-model", DEVICE),
];

/// Random cases of each property of the kernels.
const CASES: &str = "4";

/// Microseconds for which streams wait at times, so that what no event orders comes in any order.
const DELAY: usize = 3000;

/// In bf16 the device and the CPU round the same values, but sums come in other orders: a value
/// that is rounded the other way is 0.4 % off. Either side's losses are up to 0.3 % from those in
/// f32, and its logits up to 0.25.
const BF16: Bars = Bars {
    loss: 1e-2,
    grad_norm: 5e-2,
    logit: 0.5,
};

/// What is trained in bf16.
const BF16_RUNS: [(&str, &[&str]); 2] = [
    ("full, bf16", &["--bf16=true"]),
    (
        "QLoRA, recomputed, bf16",
        &[
            "--bf16=true",
            "--lora-r=4",
            "--lora-alpha=8",
            "--lora-dropout=0.1",
            "--dtype=nf4",
            "--gradient-checkpointing=true",
        ],
    ),
];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let scratch = Scratch::new(workspace.path("target/check/cuda"));
    let emulator = Emulator::build(workspace, scratch.path("emulator"))?;
    for (name, package, feature) in TESTS {
        let arguments = ["--test", name, "-p", package, "--features", feature];
        tests(workspace, &emulator.program(name, &arguments)?, package)?;
    }
    let plw = ["--bin", "plw", "-p", "plw", "--features", "nccl"];
    let plw = emulator.program("plw", &plw)?;
    generated::ensure(workspace, &plw, &generated::synthetic_data("smoke"))?;
    let mut tested = Tested {
        workspace,
        plw: &plw,
        scratch: &scratch,
        device: DEVICE,
        environment: &[],
    };
    let mut compared = tested.compare_in_f32()?;
    for (name, flags) in BF16_RUNS {
        compared.extend(tested.compare_training(name, flags, BF16)?);
    }
    compared.push(tested.compare_evaluation("bf16", &["--bf16=true"], BF16)?);
    let (of_two, mut same_bits) = processes::check(&tested)?;
    compared.extend(of_two);
    same_bits.push(recomputed::check(&tested)?);
    tested.environment = &[("PLW_CUBLASLT", "off")];
    for (name, flags, bars) in [
        ("f32", [].as_slice(), F32),
        ("bf16", &["--bf16=true"], BF16),
    ] {
        let name = format!("full, {name}, without cuBLASLt");
        compared.extend(tested.compare_training(&name, flags, bars)?);
    }
    tested.record(CASES, compared, same_bits)
}

/// Runs the tests of a package on the device, in the emulator's folder, whose cubecl.toml has each
/// tensor allocated for itself.
fn tests(workspace: &Workspace, program: &Path, package: &str) -> Result<()> {
    let folder = workspace.path(package.replacen("plw-", "crates/", 1));
    let mut command = Command::new(program);
    without_settings(&mut command)
        .current_dir(workspace.path(emulator::SOURCES))
        // As cargo tells a package's tests where they are.
        .env("CARGO_MANIFEST_DIR", folder);
    command.envs(environment(1, DELAY));
    command.env("PLW_TEST_DEVICE", DEVICE);
    command.env("PLW_TEST_CASES", CASES);
    process::run(&mut command, "the test above says what is wrong")
}
