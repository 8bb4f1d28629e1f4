//! Which parameters are finite after an optimizer step.

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::cube::tensor::{CubeTensor, from_cube, zeros};
use burn::tensor::Tensor;

/// A number for each parameter of a step, in the order of the updates: 0 where all of the parameter
/// and its second moment is finite, else more. On a GPU they are still to be computed there.
#[derive(Debug, Default)]
pub struct FiniteFlags {
    capacity: usize,
    count: usize,
    /// Of the parameters that the CPU looked at.
    host: Vec<(usize, f32)>,
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    on_device: Option<CubeTensor>,
}

impl FiniteFlags {
    /// For at most so many parameters.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    /// Notes the next parameter's number.
    ///
    /// # Panics
    ///
    /// Where there are more parameters than the capacity, which is a bug of the caller.
    pub(crate) fn push(&mut self, not_finite: f32) {
        let number = self.next(1);
        self.host.push((number, not_finite));
    }

    /// The number of the first of the next `count` parameters.
    fn next(&mut self, count: usize) -> usize {
        assert!(
            self.count + count <= self.capacity,
            "a flag for each parameter"
        );
        self.count += count;
        self.count - count
    }

    /// The numbers on the device of a parameter, and which of them is the first of the next `count`
    /// parameters'.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub(crate) fn next_on_device(
        &mut self,
        parameter: &CubeTensor,
        count: usize,
    ) -> (CubeTensor, usize) {
        let number = self.next(count);
        let capacity = self.capacity;
        let flags = self
            .on_device
            .get_or_insert_with(|| zeros(parameter, [capacity]));
        (flags.clone(), number)
    }

    /// The numbers that are still on a GPU, for [`FiniteFlags::first_not_finite`].
    pub fn on_device(&self) -> Option<Tensor<1>> {
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        return self.on_device.clone().map(from_cube);
        #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
        None
    }

    /// The first parameter that is not finite, with what was read of [`FiniteFlags::on_device`].
    pub fn first_not_finite(&self, read: &[f32]) -> Option<usize> {
        let read = read.iter().copied().enumerate();
        let all = self.host.iter().copied().chain(read);
        all.filter(|(_, number)| *number > 0.0)
            .map(|(index, _)| index)
            .min()
    }
}
