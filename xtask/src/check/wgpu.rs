//! `cargo xtask check wgpu`: everything on a device of wgpu, against the CPU.

use miette::Result;

use super::device::Tested;
use crate::peer::scratch::Scratch;
use crate::workspace::Workspace;
use crate::{binary, generated, process};

const DEVICE: &str = "wgpu";

/// Random cases of each property of the kernels; CI has fewer.
const CASES: &str = "48";

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
    let scratch = Scratch::new(workspace.path("target/check/wgpu"));
    let tested = Tested {
        workspace,
        plw: &plw,
        scratch: &scratch,
        device: DEVICE,
        environment: &[],
    };
    tested.record(CASES, tested.compare_in_f32()?, Vec::new())
}
