//! `cargo xtask check NAME`: checks that CI has no device or no time for. Each keeps its result in
//! `results/`, with the commit that it ran on.

#[cfg(unix)]
mod cluster;
mod fuzz;
mod wgpu;

use clap::{Args, Subcommand};
use miette::Result;

use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    check: Check,
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Sweeps whose workers are killed: local ones, the tasks of a Slurm array on several nodes,
    /// and the pods of a Kubernetes job by hand.
    #[cfg(unix)]
    Cluster(cluster::Flags),
    /// The readers of other people's files: the property tests with ten times the cases.
    Fuzz,
    /// The GPU kernels, a training run and an evaluation on wgpu (Vulkan, Metal, DirectX), against
    /// the CPU. Mesa's software device will do: `apt-get install mesa-vulkan-drivers`, and
    /// CUBECL_WGPU_DEFAULT_DEVICE=Cpu.
    Wgpu,
}

pub(crate) fn run(workspace: &Workspace, flags: &Flags) -> Result<()> {
    match &flags.check {
        #[cfg(unix)]
        Check::Cluster(flags) => cluster::run(workspace, flags),
        Check::Fuzz => fuzz::run(workspace),
        Check::Wgpu => wgpu::run(workspace),
    }
}
