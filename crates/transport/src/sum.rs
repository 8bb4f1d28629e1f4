//! Sums in the order of the ranks.
//!
//! A reduction of MPI's or NCCL's own may group the terms as it likes, so that another version or
//! another message length gives other bits. Here each process adds one shard of everybody's values,
//! in the order of the ranks, and gives the sum to all. Each process sends `2 (N - 1) / N` of its
//! values, as in a ring.

use std::time::Instant;

use crate::{Transport, TransportError};

/// Values that are sent at once: 16 MiB, which bounds the memory of a sum.
const PIECE: usize = 1 << 22;

pub(crate) fn sum_in_shards<T: Transport + ?Sized>(
    transport: &T,
    values: &mut [f32],
) -> Result<(), TransportError> {
    let processes = transport.world_size();
    if processes == 1 {
        return Ok(());
    }
    let began = Instant::now();
    let mut sent = 0;
    let longest = values.len().min(PIECE).div_ceil(processes);
    let mut padded = vec![0.0; longest * processes];
    let mut received = vec![0.0; longest * processes];
    for piece in values.chunks_mut(PIECE) {
        let shard = piece.len().div_ceil(processes);
        let (padded, received) = (
            &mut padded[..shard * processes],
            &mut received[..shard * processes],
        );
        padded[..piece.len()].copy_from_slice(piece);
        transport.exchange(padded, received)?;
        let (total, others) = received.split_at_mut(shard);
        for other in others.chunks(shard) {
            for (sum, value) in total.iter_mut().zip(other) {
                *sum += value;
            }
        }
        transport.collect(total, padded)?;
        piece.copy_from_slice(&padded[..piece.len()]);
        sent += 2 * (processes - 1) * shard * size_of::<f32>();
    }
    transport.counters().add(began.elapsed(), sent as u64);
    Ok(())
}

/// Puts into `values` the sums of rows of as many numbers, in their order.
pub(crate) fn sum_of_rows(rows: &[Vec<u8>], values: &mut [f64]) {
    values.fill(0.0);
    for row in rows {
        let (numbers, _) = row.as_chunks();
        for (sum, number) in values.iter_mut().zip(numbers) {
            *sum += f64::from_ne_bytes(*number);
        }
    }
}
