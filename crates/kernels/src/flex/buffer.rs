//! Room for results.

/// Room for `len` numbers that a kernel writes before anyone reads them. What is there at first is anybody's guess; in
/// tests it is NaN, so that a number left out shows.
#[allow(
    clippy::uninit_vec,
    reason = "clearing gigabytes a step that are overwritten at once costs several percent of it"
)]
pub(crate) fn buffer(len: usize) -> Vec<f32> {
    if cfg!(any(test, debug_assertions)) {
        return vec![f32::NAN; len];
    }
    let mut numbers = Vec::with_capacity(len);
    // SAFETY: the capacity is there, every bit pattern is an f32, and each kernel of this module overwrites its results
    // before they are read, as the tests' NaN would show.
    unsafe { numbers.set_len(len) };
    numbers
}
