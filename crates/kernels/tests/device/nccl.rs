//! NCCL with the one GPU of one process, whose messages and sums come back as they were sent.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use plw_kernels::{device_sum, is_on_cuda};
use plw_transport::{Nccl, NcclId, Transport, TransportError};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Random, device};

/// None where the tested device is no NVIDIA GPU.
fn nccl() -> Option<(Device, Nccl)> {
    let device = device();
    if !is_on_cuda(&Tensor::zeros([1], &device)) {
        return None;
    }
    let ids = [(); 2].map(|()| NcclId::new().expect("NCCL is installed"));
    let alone = Nccl::alone(0, 1, ids, 0).expect("a communicator");
    Some((device, alone))
}

#[test]
fn messages_come_back() -> Result<(), TransportError> {
    let Some((_, nccl)) = nccl() else {
        return Ok(());
    };
    for length in [0, 1, 127, 1 << 16] {
        let sent: Vec<f32> = (0..length).map(|i| (i as f32).sin()).collect();
        let mut received = vec![0.0; length];
        nccl.exchange(&sent, &mut received)?;
        assert_eq!(received, sent);
        received.fill(0.0);
        nccl.collect(&sent, &mut received)?;
        assert_eq!(received, sent);
        let bytes = vec![7; length];
        assert_eq!(nccl.all_gather(&bytes)?, [bytes.as_slice()]);
    }
    nccl.barrier()
}

#[test]
fn a_sum_on_the_gpu_waits_for_what_it_adds_and_is_waited_for() {
    let Some((device, nccl)) = nccl() else {
        return;
    };
    let gpu = nccl.on_device().expect("NCCL adds up on the GPU");
    let mut random = Random(ChaCha8Rng::seed_from_u64(1));
    for length in [1, 127, 1 << 16, (1 << 22) + 3] {
        let data = random.elements([length]);
        // Long products before and after: what is read too early is wrong.
        let side = Tensor::<2>::ones([2048, 2048], &device);
        let delay = side.clone().matmul(side).mean().div_scalar(2048.0);
        let vector = Tensor::<1>::from_data(data.clone(), &device) * delay;
        let sum = device_sum(vector, &Arc::clone(&gpu), 1).mul_scalar(2.0);
        let expected: Vec<f32> = data.iter::<f32>().map(|value| 2.0 * value).collect();
        let found = sum.into_data();
        assert_eq!(found.as_slice::<f32>().expect("f32"), expected);
    }
}
