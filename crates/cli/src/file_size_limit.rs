//! What happens where a file would grow beyond the size that the system allows (`ulimit -f`).

/// Turns the limit into an error of the write, which names the file as on a full disk. By default
/// the signal that comes with it ends the process on the spot.
pub(crate) fn become_an_error() {
    #[cfg(unix)]
    {
        use std::sync::atomic::AtomicBool;

        static ARRIVED: AtomicBool = AtomicBool::new(false);
        // Any handler has this effect. If it cannot be set, the default stays.
        let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, &ARRIVED);
    }
}
