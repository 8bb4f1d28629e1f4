//! Unsigned integers of the host, as a tensor.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// The integers as `[count]` u32 on a device, outside of any autodiff graph.
pub(crate) fn to_device(integers: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    let count = integers.len();
    let data = TensorData::new(integers, [count]);
    Tensor::from_data(data, (&device.clone().inner(), DType::U32))
}
