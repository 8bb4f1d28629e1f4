//! `cargo xtask check NAME`: checks that CI has no device or no time for. Each keeps its result in
//! `results/`, with the commit that it ran on.

#[cfg(unix)]
mod cluster;
mod compared;
#[cfg(target_os = "linux")]
mod cuda;
mod device;
mod fuzz;
#[cfg(unix)]
mod mpirun;
#[cfg(unix)]
mod parallel;
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
    /// Everything that is CUDA's alone, on an H100 that is emulated on the CPU: kernels, golden
    /// checkpoints, training runs, evaluations, and two processes over NCCL. Needs a C++ compiler.
    #[cfg(target_os = "linux")]
    Cuda,
    /// The readers of other people's files: the property tests with ten times the cases.
    Fuzz,
    /// Runs of several processes over MPI, here and over network namespaces, against one process.
    /// As root, with Open MPI, libclang and iproute2: `apt-get install openmpi-bin libopenmpi-dev
    /// libclang-dev iproute2`.
    #[cfg(unix)]
    Parallel,
    /// The GPU kernels, a training run and an evaluation on wgpu (Vulkan, Metal, DirectX), against
    /// the CPU. Mesa's software device will do: `apt-get install mesa-vulkan-drivers`, and
    /// CUBECL_WGPU_DEFAULT_DEVICE=Cpu.
    Wgpu,
}

pub(crate) fn run(workspace: &Workspace, flags: &Flags) -> Result<()> {
    match &flags.check {
        #[cfg(unix)]
        Check::Cluster(flags) => cluster::run(workspace, flags),
        #[cfg(target_os = "linux")]
        Check::Cuda => cuda::run(workspace),
        Check::Fuzz => fuzz::run(workspace),
        #[cfg(unix)]
        Check::Parallel => parallel::run(workspace),
        Check::Wgpu => wgpu::run(workspace),
    }
}
