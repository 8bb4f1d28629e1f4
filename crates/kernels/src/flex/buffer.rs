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
    // SAFETY: the capacity is there. `set_len` asks for initialised numbers, which these are not: this rests on a contract
    // of this module, not on the type. Nothing reads a number before a pass has written it, and a pass writes every number
    // of its result. Passes assert the lengths that this takes, and `spans` that its spans are all tokens; builds with tests
    // or debug assertions begin with NaN, so that a number left out shows in a result. Dropping f32s reads none of them, so
    // that a panic on the way breaks nothing.
    unsafe { numbers.set_len(len) };
    numbers
}
