//! What another thread has queued, which this one's work waits for.

use std::thread;

use burn::tensor::Tensor;
use plw_kernels::QueuePoint;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Random, device};

#[test]
fn a_thread_waits_for_what_another_has_queued() {
    let device = device();
    let mut random = Random(ChaCha8Rng::seed_from_u64(1));
    for length in [1, 127, 1 << 16] {
        let data = random.elements([length]);
        // A long product before: what is read too early is wrong.
        let side = Tensor::<2>::ones([512, 512], &device);
        let delay = side.clone().matmul(side).mean().div_scalar(512.0);
        let vector = Tensor::<1>::from_data(data.clone(), &device) * delay;
        let point = QueuePoint::here();
        // Not in place: the thread that allocated memory would not wait for who changes it.
        let twice = || {
            point.wait(&device);
            vector.clone().mul_scalar(2.0).into_data()
        };
        let found = thread::scope(|scope| scope.spawn(twice).join());
        let found = found.expect("nothing panics");
        let expected: Vec<f32> = data.iter::<f32>().map(|value| 2.0 * value).collect();
        assert_eq!(found.as_slice::<f32>().expect("f32"), expected);
    }
}
