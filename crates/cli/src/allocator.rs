//! How the binary's memory is managed.
//!
//! A training step frees gigabytes that the next step allocates again. By default glibc's allocator
//! returns large blocks to the system at once, and the system clears them each time: a sixth of a
//! step's time. These settings let glibc keep freed memory, take large blocks from one heap (which
//! uses the best fit and joins neighbors, so that batches of different lengths leave no holes), and
//! ask for huge pages. jemalloc and mimalloc with such settings hold a quarter more memory.

/// Executes the program again with these settings, in the same process: glibc reads them only
/// before `main`. Does nothing if the user has set such settings, or on systems other than Linux
/// with glibc.
pub(crate) fn configure() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt;

        const VARIABLE: &str = "GLIBC_TUNABLES";
        const SETTINGS: &str = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1099511627776:\
                                glibc.malloc.top_pad=67108864:glibc.malloc.hugetlb=1";
        if std::env::var_os(VARIABLE).is_some() {
            return;
        }
        let Ok(program) = std::env::current_exe() else {
            return;
        };
        let mut arguments = std::env::args_os();
        let mut command = std::process::Command::new(program);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        // `exec` returns only if it fails. The program then runs without the settings.
        let _ = command.args(arguments).env(VARIABLE, SETTINGS).exec();
    }
}
