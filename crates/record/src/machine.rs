//! The machine that a run was made on. Speed and memory mean little without it.

use std::fs;

use serde::{Deserialize, Serialize};

/// The machine of a process, as results name it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The name that the processor reports, or `unknown`.
    pub processor: String,
    /// Instruction set, such as `x86_64`.
    pub architecture: String,
    /// Operating system, such as `linux`.
    pub operating_system: String,
    /// Threads that this process may use.
    pub threads: usize,
    /// Vector and matrix extensions, such as `avx2`, `avx512f`, `amx_bf16` and `neon`.
    pub vector_extensions: Vec<String>,
    /// Memory of the machine in bytes, if the system reports it.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// The machine of this process.
    pub fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            processor: cpuinfo_field(&cpuinfo, "model name")
                .unwrap_or("unknown")
                .to_string(),
            architecture: std::env::consts::ARCH.to_string(),
            operating_system: std::env::consts::OS.to_string(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            vector_extensions: vector_extensions(&cpuinfo),
            memory_bytes: fs::read_to_string("/proc/meminfo")
                .ok()
                .and_then(|text| kibibytes(&text, "MemTotal:")),
        }
    }
}

/// Peak resident memory of this process in bytes. `None` if the system does not report it.
pub fn peak_memory_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The extensions among the processor's flags that decide the speed of matrix products.
fn vector_extensions(cpuinfo: &str) -> Vec<String> {
    let listed = cpuinfo_field(cpuinfo, "flags").or_else(|| cpuinfo_field(cpuinfo, "Features"));
    match listed {
        Some(flags) => flags
            .split_whitespace()
            .filter(|flag| {
                matches!(
                    *flag,
                    "avx" | "avx2" | "fma" | "f16c" | "asimd" | "bf16" | "i8mm"
                ) || ["avx512", "avx_vnni", "amx", "sve"]
                    .iter()
                    .any(|prefix| flag.starts_with(prefix))
            })
            .map(str::to_string)
            .collect(),
        None => detected_extensions(),
    }
}

/// The extensions that the standard library detects, for systems without `/proc/cpuinfo`.
#[cfg(target_arch = "x86_64")]
fn detected_extensions() -> Vec<String> {
    let found = [
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    let found = found.iter().filter(|(_, has)| *has);
    found.map(|(name, _)| name.to_string()).collect()
}

/// Every 64-bit Arm processor has Advanced SIMD.
#[cfg(not(target_arch = "x86_64"))]
fn detected_extensions() -> Vec<String> {
    if cfg!(target_arch = "aarch64") {
        vec!["neon".to_string()]
    } else {
        Vec::new()
    }
}

/// The value of a field for the first processor.
fn cpuinfo_field<'a>(cpuinfo: &'a str, field: &str) -> Option<&'a str> {
    cpuinfo.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == field).then(|| value.trim())
    })
}

/// A line such as `VmHWM:     1234 kB`, in bytes.
fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let status = "Name:\tplw\nVmPeak:\t  9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 3 kB\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(2048 * 1024));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC 7B13\n\
                       flags\t\t: fpu avx avx2 fma avx512f amx_bf16 sse2\n\
                       processor\t: 1\nmodel name\t: other\n";
        assert_eq!(cpuinfo_field(cpuinfo, "model name"), Some("AMD EPYC 7B13"));
        assert_eq!(
            vector_extensions(cpuinfo),
            ["avx", "avx2", "fma", "avx512f", "amx_bf16"]
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_covers_what_was_touched() {
        let held = vec![1u8; 64 << 20];
        let peak = peak_memory_bytes().expect("Linux tells");
        assert!(
            peak >= held.iter().map(|&b| u64::from(b)).sum::<u64>(),
            "{peak}"
        );
        assert!(Machine::this().threads >= 1);
    }
}
