//! A slice that several tasks write, each its own numbers.

use std::marker::PhantomData;

/// A mutable slice that can be handed to several tasks.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a mutable slice of f32, which may go to another thread; that two threads do not write one number is the
// promise of whoever calls `range`.
unsafe impl Send for SharedMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedMut<'_> {}

impl<'a> SharedMut<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// `len` numbers from `start` on.
    ///
    /// # Safety
    ///
    /// While the range lives, no other may overlap it.
    pub(crate) unsafe fn range(&self, start: usize, len: usize) -> &'a mut [f32] {
        assert!(start + len <= self.len);
        // SAFETY: inside the slice that it was made of, as just checked; the caller keeps ranges apart.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
