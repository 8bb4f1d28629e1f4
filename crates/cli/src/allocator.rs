//! How the binary's memory is managed.
//!
//! A training step frees gigabytes that the next step asks for again. By default the system's allocator hands large blocks back
//! at once, and the system clears them anew: a sixth of a step's time. Where the allocator is glibc's it is told to keep what
//! is freed, to cut large blocks out of one heap (where the best fit is taken and neighbours are joined, so that batches of
//! different lengths leave no holes), and to ask for huge pages. jemalloc and mimalloc, told the same, hold a quarter more.

/// Runs the program again with these settings, in the same process: glibc reads them before `main` and at no other time. Does
/// nothing where they, or others of the user's, are there already, and elsewhere than on Linux with glibc.
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
        // Comes back only if it fails, and then the program goes on as it is.
        let _ = command.args(arguments).env(VARIABLE, SETTINGS).exec();
    }
}
