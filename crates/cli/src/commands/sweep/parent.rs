//! The end of the process that started this one, which others are to notice.

use miette::{Result, miette};

/// Asks this process to stop, as SIGTERM does, when the one that started it ends, however it ends:
/// a sweep that was killed leaves no run behind that still computes. Only Linux has this.
pub(super) fn end_with(parent: Option<u32>) -> Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(parent) = parent {
        use nix::sys::prctl::set_pdeathsig;
        use nix::sys::signal::Signal;

        set_pdeathsig(Signal::SIGTERM)
            .map_err(|error| miette!("the end of process {parent} cannot be noticed: {error}"))?;
        if u32::try_from(nix::unistd::getppid().as_raw()) != Ok(parent) {
            return Err(miette!(
                "process {parent}, which started this one, has ended"
            ));
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
    Ok(())
}
