//! Results on their way from a device.

use burn::backend::DispatchDevice;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn::tensor::DType;
use burn::tensor::{Device, Tensor};

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::cube;

/// Whether a device works on its own while this program goes on.
pub fn has_queue(device: &Device) -> bool {
    !matches!(
        device.clone().inner().as_dispatch(),
        DispatchDevice::Flex(_)
    )
}

/// Vectors that are copied to the host as soon as the device has computed them, while it goes on
/// with what is queued behind them.
///
/// Burn's own reading waits for everything that was queued before it is called, so that a program
/// that reads the last step's loss while the next step runs would wait for both.
pub struct Readback(Box<dyn FnOnce() -> Vec<Vec<f32>> + Send>);

impl Readback {
    /// Starts to copy these vectors, which are on one device. What is queued there after this call
    /// does not delay them.
    pub fn new(vectors: Vec<Tensor<1>>) -> Self {
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        if vectors.first().is_some_and(cube::supports)
            && vectors.iter().all(|vector| vector.dtype() == DType::F32)
        {
            let vectors = vectors.into_iter().map(cube::tensor::into_cube);
            return Self(Box::new(cube::tensor::start_reading(vectors.collect())));
        }
        Self(Box::new(move || {
            let read = |vector: Tensor<1>| {
                let data = vector.into_data_as::<f32>();
                data.try_into_vec()
                    .expect("the data was converted to f32 just now")
            };
            vectors.into_iter().map(read).collect()
        }))
    }

    /// The vectors, in their order. Waits until they are there.
    ///
    /// # Panics
    ///
    /// Where the device could not compute them.
    pub fn wait(self) -> Vec<Vec<f32>> {
        (self.0)()
    }
}

impl std::fmt::Debug for Readback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Readback")
    }
}
