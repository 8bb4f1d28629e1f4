//! What the threads of one process add and tell each other.

use std::thread;

use plw_transport::{Threads, Transport, TransportError};

/// What each of `count` threads returns, by rank.
fn together<R: Send>(count: usize, work: impl Fn(&Threads) -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = Threads::new(count)
            .into_iter()
            .map(|transport| scope.spawn(move || work(&transport)))
            .collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results.map(|result| result.expect("no panic")).collect()
    })
}

#[test]
fn sums_are_those_in_the_order_of_the_ranks() {
    // Of numbers whose sum depends on the order: lengths around pieces and shards.
    let value = |rank: usize, index: usize| (1.0 + index as f32).sqrt() * 10f32.powi(rank as i32);
    for (count, length) in [(2, 0), (2, 1), (3, 2), (3, 10), (4, 7), (2, (1 << 22) + 3)] {
        let expected: Vec<f32> = (0..length)
            .map(|index| (1..count).fold(value(0, index), |sum, rank| sum + value(rank, index)))
            .collect();
        let sums = together(count, |transport| {
            let mut values: Vec<f32> = (0..length).map(|i| value(transport.rank(), i)).collect();
            transport.sum(&mut values).map(|()| values)
        });
        for sum in sums {
            assert!(sum.as_ref() == Ok(&expected), "{count} of {length}");
        }
    }
}

#[test]
fn bytes_of_any_length_are_gathered_and_the_first_process_is_heard() {
    let gathered = together(3, |transport| {
        let own = vec![transport.rank() as u8; 2 * transport.rank()];
        let all = transport.all_gather(&own)?;
        let mut numbers = [0.1, transport.rank() as f64];
        transport.sum_f64(&mut numbers)?;
        transport.barrier()?;
        Ok((
            all,
            numbers,
            transport.broadcast(own)?,
            transport.broadcast(vec![7])?,
        ))
    });
    let expected = (
        vec![vec![], vec![1; 2], vec![2; 4]],
        [0.1 + 0.1 + 0.1, 3.0],
        vec![],
        vec![7],
    );
    for found in gathered {
        assert_eq!(found, Ok::<_, TransportError>(expected.clone()));
    }
}

#[test]
fn nobody_waits_for_a_process_that_has_ended() {
    let ended = together(3, |transport| match transport.rank() {
        1 => {
            transport.abort(1);
            Ok(())
        }
        _ => transport.sum(&mut [1.0]),
    });
    let aborted = Err(TransportError::Aborted { rank: 1 });
    assert_eq!(ended, [aborted.clone(), Ok(()), aborted]);
    let left = together(2, |transport| match transport.rank() {
        1 => Ok(()),
        _ => transport.barrier(),
    });
    assert_eq!(left[0], Err(TransportError::Gone { rank: 1 }));
}

#[test]
fn the_bytes_of_sums_are_counted() {
    let bytes = together(4, |transport| {
        let mut values = [1.0; 8];
        let summed = transport.sum(&mut values);
        (summed, transport.counters().traffic().bytes)
    });
    // Six of eight values leave a process, and so many sums.
    assert_eq!(bytes, vec![(Ok(()), 2 * 6 * 4); 4]);
}
