//! The GPU backend's tensors.

use burn::backend::ops::FloatTensorOps;
use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use burn::backend::{
    BackendTensor, Cube, DispatchAutodiffContext, DispatchDevice, DispatchTensor,
    DispatchTensorKind, TensorMetadata,
};
use burn::tensor::{DType, Device, Int, Shape, Tensor};
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::device::DeviceId;
use burn_cubecl::cubecl::future::block_on;
use burn_cubecl::cubecl::ir::{ElemType, FloatKind};
use burn_cubecl::cubecl::prelude::{BufferArg, CubeElement};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype, zeros_client};
pub(crate) use burn_cubecl::tensor::CubeTensor;

/// The compute client of a GPU.
pub(crate) fn client(device: &Device) -> Client {
    match device.clone().inner().as_dispatch() {
        DispatchDevice::Cube(device) => device.client(),
        other => unreachable!("`supports` let a device through that is no GPU: {other:?}"),
    }
}

/// The type of a tensor's elements, as kernels are compiled for it.
pub(crate) fn element(tensor: &CubeTensor) -> ElemType {
    ElemType::Float(match tensor.dtype {
        DType::F32 => FloatKind::F32,
        DType::BF16 => FloatKind::BF16,
        DType::F16 => FloatKind::F16,
        other => unreachable!("`supports` let a tensor of {other:?} through"),
    })
}

/// A tensor of uninitialized f32 on the device of another.
pub(crate) fn empty(like: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    empty_of(like, shape, DType::F32)
}

/// A tensor of uninitialized elements on the device of another.
pub(crate) fn empty_of(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(
        like.client.clone(),
        like.device.clone(),
        shape.into(),
        dtype,
    )
}

/// A tensor of f32 zeros on the device of another.
pub(crate) fn zeros(like: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    zeros_of(like, shape, DType::F32)
}

/// A tensor of zeros on the device of another.
pub(crate) fn zeros_of(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    let shape = shape.into();
    let (client, device) = (like.client.clone(), like.device.clone());
    // A matrix might get gaps between its rows; a vector has none.
    let vector = Shape::new([shape.num_elements()]);
    let handle = zeros_client(client.clone(), device.clone(), vector, dtype).handle;
    CubeTensor::new_contiguous(client, device, shape, handle, dtype)
}

/// The elements as a vector on the device of another tensor.
pub(crate) fn upload<E: CubeElement + burn::tensor::Element>(
    like: &CubeTensor,
    elements: &[E],
) -> CubeTensor {
    let handle = like.client.create_from_slice(E::as_bytes(elements));
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        Shape::new([elements.len()]),
        handle,
        <E as burn::tensor::Element>::dtype(),
    )
}

/// A tensor as a kernel takes it.
pub(crate) trait IntoBuffer {
    /// Its elements and no more: CUDA's memory may go on behind them, and a kernel that asks how
    /// long a buffer is would get all of it.
    fn into_buffer(self) -> BufferArg;
}

impl IntoBuffer for CubeTensor {
    fn into_buffer(self) -> BufferArg {
        without_rest(self).into_buffer_arg()
    }
}

/// A contiguous tensor without the memory behind its last element.
fn without_rest(mut tensor: CubeTensor) -> CubeTensor {
    let bytes = (tensor.shape().num_elements() * tensor.dtype.size()) as u64;
    let start = tensor.handle.offset_start.unwrap_or(0);
    tensor.handle.offset_end = Some(tensor.handle.size() - start - bytes);
    tensor
}

/// The rows of a contiguous matrix, without a copy.
pub(super) fn row_range(matrix: &CubeTensor, rows: Range<usize>) -> CubeTensor {
    let width = sizes(matrix)[1];
    let start = (rows.start * width * matrix.dtype.size()) as u64;
    let mut handle = matrix.handle.clone();
    handle.offset_start = Some(handle.offset_start.unwrap_or(0) + start);
    CubeTensor::new_contiguous(
        matrix.client.clone(),
        matrix.device.clone(),
        Shape::new([rows.len(), width]),
        handle,
        matrix.dtype,
    )
}

/// Whether the device allows a tensor of this type to begin at a row of a matrix as wide as this
/// one, in the matrix's memory.
pub(super) fn starts_aligned(matrix: &CubeTensor, row: usize, dtype: DType) -> bool {
    let alignment = matrix.client.properties().memory.alignment as usize;
    (row * sizes(matrix)[1] * dtype.size()).is_multiple_of(alignment)
}

/// The client of a device for as long as the program runs: what reads through one borrows it.
fn lasting(client: &Client) -> &'static Client {
    static CLIENTS: Mutex<BTreeMap<DeviceId, &'static Client>> = Mutex::new(BTreeMap::new());
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let device = client.service_id().device;
    clients
        .entry(device)
        .or_insert_with(|| Box::leak(Box::new(client.clone())))
}

/// Copies that a device was told to make.
struct Copies<F: Future>(Option<Pin<Box<F>>>);

impl<F: Future> Copies<F> {
    fn wait(mut self) -> F::Output {
        block_on(self.0.take().expect("they are waited for once"))
    }
}

impl<F: Future> Drop for Copies<F> {
    /// The host's memory that the device writes to is the future's, and goes to others with it.
    fn drop(&mut self) {
        if let Some(copies) = self.0.take() {
            block_on(copies);
        }
    }
}

/// Starts to copy vectors of f32 to the host, after everything that was queued on their device.
/// What it returns waits for the copies alone, not for what is queued after this call.
///
/// # Panics
///
/// Where the device could not compute them.
pub(crate) fn start_reading(tensors: Vec<CubeTensor>) -> impl FnOnce() -> Vec<Vec<f32>> + Send {
    let client = tensors.first().map(|tensor| lasting(&tensor.client));
    let handles = tensors
        .into_iter()
        .map(|tensor| without_rest(into_contiguous(tensor)).handle)
        .collect();
    let copies = client.map(|client| Copies(Some(Box::pin(client.read_async(handles)))));
    move || {
        let Some(copies) = copies else {
            return Vec::new();
        };
        let found = copies
            .wait()
            .expect("the device computed what it was asked to");
        #[cfg(feature = "cuda")]
        super::cuda::stream::check();
        found
            .iter()
            .map(|bytes| f32::from_bytes(bytes).to_vec())
            .collect()
    }
}

/// A contiguous tensor to be changed in place: itself where nobody else holds its elements, else a
/// copy.
pub(crate) fn into_unique(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() {
        return tensor;
    }
    // A copy of a matrix might get gaps between its rows; that of a vector has none.
    let (shape, dtype) = (tensor.shape(), tensor.dtype);
    let vector = Shape::new([shape.num_elements()]);
    let CubeTensor {
        client,
        device,
        handle,
        ..
    } = tensor;
    let vector = CubeTensor::new_contiguous(client, device, vector, handle, dtype);
    let CubeTensor {
        client,
        device,
        handle,
        ..
    } = vector.copy();
    CubeTensor::new_contiguous(client, device, shape, handle, dtype)
}

/// The gradient of a tensor as kernels read it: contiguous, in the tensor's type.
pub(crate) fn into_gradient(gradient: CubeTensor, of: &CubeTensor) -> CubeTensor {
    into_contiguous(match gradient.dtype == of.dtype {
        true => gradient,
        false => Cube::float_cast(gradient, of.dtype.into()),
    })
}

/// Rows and columns of a matrix.
pub(crate) fn sizes(tensor: &CubeTensor) -> [usize; 2] {
    let shape = tensor.shape();
    [shape[0], shape[1]]
}

/// The GPU backend's tensor under a Burn tensor without a graph.
pub(crate) fn into_cube<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Cube(tensor) => tensor.float(),
        other => unreachable!("`supports` let a tensor through that is on no GPU: {other:?}"),
    }
}

/// The GPU backend's tensor under a Burn tensor of integers.
pub(crate) fn into_cube_int(tensor: Tensor<1, Int>) -> CubeTensor {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Cube(tensor) => tensor.int(),
        other => unreachable!("`supports` let a tensor through that is on no GPU: {other:?}"),
    }
}

/// The Burn tensor without a graph over the GPU backend's tensor.
pub(crate) fn from_cube<const D: usize>(tensor: CubeTensor) -> Tensor<D> {
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Cube(BackendTensor::Float(tensor)),
        autodiff: DispatchAutodiffContext::Disabled,
    })
}
