//! Memory for results that is not cleared before a kernel writes it.

use std::mem::MaybeUninit;

/// `len` uninitialized values, for a kernel that writes each of them.
///
/// A training step writes gigabytes of results: clearing them first would cost several percent of
/// its time. In tests and debug builds the values are NaN, so that an element that a kernel
/// forgets shows in its result.
pub(crate) fn uninitialized(len: usize) -> Box<[MaybeUninit<f32>]> {
    if cfg!(any(test, debug_assertions)) {
        return vec![MaybeUninit::new(f32::NAN); len].into_boxed_slice();
    }
    Box::new_uninit_slice(len)
}
