//! `cargo xtask check wgpu`: everything on a device of wgpu, against the CPU.

use miette::{IntoDiagnostic, Result, miette};
use plw_files::write_json_atomic;
use plw_record::Machine;
use serde::Serialize;

use super::compared::{Compared, table};
use super::device::{F32, RUNS, Tested};
use crate::peer::scratch::Scratch;
use crate::workspace::Workspace;
use crate::{binary, generated, process};

const DEVICE: &str = "wgpu";

/// Random cases of each property of the kernels; CI has fewer.
const CASES: &str = "48";

/// `results/check-wgpu.json`.
#[derive(Debug, Serialize)]
struct Record {
    commit: String,
    machine: Machine,
    /// What `plw devices` prints.
    devices: Vec<String>,
    cases_of_each_property: String,
    compared: Vec<Compared>,
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut properties = binary::cargo(workspace);
    properties.args(["test", "--release", "--locked", "--package", "plw-kernels"]);
    properties.args(["--features", DEVICE, "--test", "device"]);
    properties
        .env("PLW_TEST_DEVICE", DEVICE)
        .env("PLW_TEST_CASES", CASES);
    process::run(&mut properties, "the test above says which kernel is wrong")?;

    let plw = binary::build(workspace, DEVICE)?;
    generated::ensure(workspace, &plw, &generated::synthetic_data("smoke"))?;
    let devices = process::output(workspace.command(&plw).arg("devices"))?;
    let scratch = Scratch::new(workspace.path("target/check/wgpu"));
    let tested = Tested {
        workspace,
        plw: &plw,
        scratch: &scratch,
        device: DEVICE,
        environment: &[],
    };
    let mut compared = Vec::new();
    for (name, flags) in RUNS {
        compared.extend(tested.compare_training(name, flags, F32)?);
    }
    compared.push(tested.compare_evaluation("f32", &[], F32)?);
    let is_met = compared.iter().all(Compared::is_met);
    println!("{}", table("wgpu against the CPU", &compared));
    let record = Record {
        commit: workspace.commit(),
        machine: Machine::this(),
        devices: devices.lines().map(str::to_string).collect(),
        cases_of_each_property: CASES.to_string(),
        compared,
    };
    write_json_atomic(workspace.path("results/check-wgpu.json"), &record).into_diagnostic()?;
    match is_met {
        true => Ok(()),
        false => Err(miette!(
            "wgpu and the CPU differ by more than the bars above"
        )),
    }
}
