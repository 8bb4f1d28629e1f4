//! The sum of a vector over processes that have a GPU each.

use std::sync::Arc;

use burn::tensor::Tensor;
use plw_transport::DeviceTransport;

#[cfg(feature = "cuda")]
use crate::cube;

/// Whether a vector is in the memory of an NVIDIA GPU, where [`device_sum`] can add it up.
#[cfg(feature = "cuda")]
pub fn is_on_cuda(vector: &Tensor<1>) -> bool {
    cube::supports(vector) && cube::cuda::is_cuda(&cube::tensor::into_cube(vector.clone()))
}

/// Whether a vector is in the memory of an NVIDIA GPU. Without the feature `cuda` none is.
#[cfg(not(feature = "cuda"))]
pub fn is_on_cuda(_vector: &Tensor<1>) -> bool {
    false
}

/// The sum of the f32 vectors of all processes, in the order of their ranks, on each of their GPUs.
/// It is queued there, and nobody waits for it. Every process calls this for vectors of the same
/// lengths in the same order.
///
/// Each process adds one shard of everybody's vector and gives it to all.
///
/// # Panics
///
/// If the vector is not [`is_on_cuda`].
pub fn device_sum(
    vector: Tensor<1>,
    transport: &Arc<dyn DeviceTransport>,
    processes: usize,
) -> Tensor<1> {
    let [length] = vector.dims();
    let block = length.div_ceil(processes);
    let rest = block * processes - length;
    let blocks = match rest {
        0 => vector,
        _ => {
            let padding = Tensor::zeros([rest], &vector.device());
            Tensor::cat(vec![vector, padding], 0)
        }
    };
    let received = exchange(blocks, block, transport);
    let shard = |rank: usize| received.clone().slice(rank * block..(rank + 1) * block);
    let own = (1..processes).fold(shard(0), |sum, rank| sum + shard(rank));
    collect(own, processes, transport).slice(0..length)
}

#[cfg(feature = "cuda")]
fn exchange(blocks: Tensor<1>, block: usize, transport: &Arc<dyn DeviceTransport>) -> Tensor<1> {
    let blocks = cube::tensor::into_cube(blocks);
    let received = cube::cuda::collectives::exchange(blocks, block, transport.clone());
    cube::tensor::from_cube(received)
}

#[cfg(feature = "cuda")]
fn collect(own: Tensor<1>, processes: usize, transport: &Arc<dyn DeviceTransport>) -> Tensor<1> {
    let own = cube::tensor::into_cube(own);
    let all = cube::cuda::collectives::collect(own, processes, transport.clone());
    cube::tensor::from_cube(all)
}

#[cfg(not(feature = "cuda"))]
fn exchange(_: Tensor<1>, _: usize, _: &Arc<dyn DeviceTransport>) -> Tensor<1> {
    unreachable!("without the feature `cuda` no vector is on such a GPU")
}

#[cfg(not(feature = "cuda"))]
fn collect(_: Tensor<1>, _: usize, _: &Arc<dyn DeviceTransport>) -> Tensor<1> {
    unreachable!("without the feature `cuda` no vector is on such a GPU")
}
