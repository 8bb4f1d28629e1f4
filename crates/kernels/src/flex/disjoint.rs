//! A slice that several tasks write at once, each its own elements.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A mutable slice of results whose disjoint ranges can be handed to several tasks.
#[derive(Clone, Copy)]
pub(crate) struct DisjointMut<'a> {
    start: *mut MaybeUninit<f32>,
    len: usize,
    slice: PhantomData<&'a mut [MaybeUninit<f32>]>,
}

// SAFETY: it stands for a mutable slice of f32, which may go to another thread. The callers of
// `range` promise that no two threads write the same element.
unsafe impl Send for DisjointMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for DisjointMut<'_> {}

impl<'a> DisjointMut<'a> {
    pub(crate) fn new(slice: &'a mut [MaybeUninit<f32>]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// The `len` elements from `start` on.
    ///
    /// # Safety
    ///
    /// While the range lives, no other range may overlap it.
    pub(crate) unsafe fn range(&self, start: usize, len: usize) -> &'a mut [MaybeUninit<f32>] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: the assertion keeps the range inside the slice; the caller keeps ranges apart.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
