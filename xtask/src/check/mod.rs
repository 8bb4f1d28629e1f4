//! `cargo xtask check NAME`: checks that CI has no device or no time for. Each keeps its result in
//! `results/`, with the commit that it ran on.

mod fuzz;
mod wgpu;

use clap::{Args, ValueEnum};
use miette::Result;

use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Which check.
    #[arg(value_enum)]
    name: Check,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Check {
    /// The readers of other people's files: the property tests with ten times the cases.
    Fuzz,
    /// The GPU kernels, a training run and an evaluation on wgpu (Vulkan, Metal, DirectX), against
    /// the CPU. Mesa's software device will do: `apt-get install mesa-vulkan-drivers`, and
    /// CUBECL_WGPU_DEFAULT_DEVICE=Cpu.
    Wgpu,
}

pub(crate) fn run(workspace: &Workspace, flags: &Flags) -> Result<()> {
    match flags.name {
        Check::Fuzz => fuzz::run(workspace),
        Check::Wgpu => wgpu::run(workspace),
    }
}
