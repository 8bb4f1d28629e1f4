//! How fast the `gemm` crate multiplies f32 matrices on all threads: the upper bound that
//! `cargo xtask bench` compares with. Prints JSON.
//!
//! The product is that of a linear layer, `x W^T` with x `[2048, 576]` and W `[1536, 576]`, called
//! as the kernels call it. It is large enough for the machine's best, and no larger than the
//! products of a training step.

#![allow(unsafe_code, reason = "gemm takes pointers")]

use std::time::{Duration, Instant};

use gemm::Parallelism;

const ROWS: usize = 2048;
const INNER: usize = 576;
const COLUMNS: usize = 1536;

/// How long the fastest product is looked for: other processes may disturb the first ones.
const DURATION: Duration = Duration::from_secs(4);

fn main() {
    let values = |count: usize| -> Vec<f32> {
        let value = |i: usize| (i * 7919 % 1000) as f32 / 1000.0 - 0.5;
        (0..count).map(value).collect()
    };
    let (x, weight) = (values(ROWS * INNER), values(COLUMNS * INNER));
    let mut product = vec![0f32; ROWS * COLUMNS];
    let mut best = Duration::MAX;
    let mut repetitions = 0u32;
    let began = Instant::now();
    while began.elapsed() < DURATION {
        let start = Instant::now();
        multiply(&mut product, &x, &weight);
        best = best.min(start.elapsed());
        repetitions += 1;
        std::hint::black_box(&mut product);
    }
    let seconds = best.as_secs_f64();
    let gflops = 2.0 * (ROWS * INNER * COLUMNS) as f64 / seconds / 1e9;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{{\"rows\": {ROWS}, \"inner\": {INNER}, \"columns\": {COLUMNS}, \"threads\": {threads}, \
         \"repetitions\": {repetitions}, \"seconds\": {seconds}, \"gflops\": {gflops}}}"
    );
}

/// `product = x weight^T`, all three row by row.
fn multiply(product: &mut [f32], x: &[f32], weight: &[f32]) {
    assert_eq!(product.len(), ROWS * COLUMNS);
    assert_eq!((x.len(), weight.len()), (ROWS * INNER, COLUMNS * INNER));
    // SAFETY: the assertions keep every index that the strides reach inside the slices. `product`
    // is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            ROWS,
            COLUMNS,
            INNER,
            product.as_mut_ptr(),
            1,
            COLUMNS as isize,
            false,
            x.as_ptr(),
            1,
            INNER as isize,
            weight.as_ptr(),
            INNER as isize,
            1,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}
