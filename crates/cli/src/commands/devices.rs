//! `plw devices`: what this machine can compute on.

use std::process::ExitCode;

use miette::Result;
use plw_kernels::{Gpu, GpuRuntime};

use crate::output::print;

pub(crate) fn run() -> Result<ExitCode> {
    print(&table())?;
    Ok(ExitCode::SUCCESS)
}

fn table() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut lines = vec![format!("{:<8} {threads} threads", "cpu")];
    let gpus = plw_kernels::gpus();
    lines.extend(gpus.iter().map(line));
    for (runtime, name) in [(GpuRuntime::Cuda, "cuda"), (GpuRuntime::Wgpu, "wgpu")] {
        if !runtime.is_built_in() {
            let command = format!("cargo build --release --bin plw --features {name}");
            lines.push(format!("{name:<8} not built in ({command})"));
        } else if !gpus.iter().any(|gpu| gpu.runtime == runtime) {
            lines.push(format!("{name:<8} built in; no GPU or no driver found"));
        }
    }
    #[cfg(feature = "cuda")]
    lines.push(libraries());
    lines.join("\n") + "\n"
}

/// `cuda:0   NVIDIA H100 80GB HBM3, 85.0 GB, 227 KiB shared, bf16 (ptx_sm90)`
fn line(gpu: &Gpu) -> String {
    let runtime = match gpu.runtime {
        GpuRuntime::Cuda => "cuda",
        GpuRuntime::Wgpu => "wgpu",
    };
    let device = format!("{runtime}:{}", gpu.number);
    let memory = match gpu.memory {
        Some(bytes) => format!("{:.1} GB", bytes as f64 / 1e9),
        None => "memory unknown".to_string(),
    };
    let bf16 = if gpu.has_bf16 { "bf16" } else { "no bf16" };
    format!(
        "{device:<8} {}, {memory}, {} KiB shared, {bf16} ({})",
        gpu.name,
        gpu.shared_memory / 1024,
        gpu.target
    )
}

#[cfg(feature = "cuda")]
fn libraries() -> String {
    let libraries = plw_kernels::CudaLibraries::find();
    let word = |is_there| if is_there { "found" } else { "not found" };
    format!(
        "CUDA's driver: {}; NVRTC (needed): {}; cuBLASLt (makes products faster): {}",
        word(libraries.driver),
        word(libraries.nvrtc),
        word(libraries.cublaslt)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_one_line() {
        let gpu = Gpu {
            runtime: GpuRuntime::Cuda,
            number: 1,
            name: "NVIDIA H100".to_string(),
            target: "ptx_sm90".to_string(),
            memory: Some(85_000_000_000),
            shared_memory: 232_448,
            has_bf16: true,
        };
        assert_eq!(
            line(&gpu),
            "cuda:1   NVIDIA H100, 85.0 GB, 227 KiB shared, bf16 (ptx_sm90)"
        );
    }
}
