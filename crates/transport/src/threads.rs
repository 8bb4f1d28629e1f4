//! The threads of one process as a job's processes, so that tests need no launcher.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Counters, Transport, TransportError};

/// One of several threads that take the place of processes.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    world_size: usize,
    meeting: Arc<Meeting>,
    counters: Counters,
}

/// Where the threads meet.
#[derive(Debug, Default)]
struct Meeting {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What each thread has brought to this round.
    brought: Vec<Option<Vec<u8>>>,
    /// Rounds that are complete.
    rounds: u64,
    /// What was brought to the last complete round.
    last: Arc<Vec<Vec<u8>>>,
    /// Why no round will be complete any more.
    ended: Option<TransportError>,
}

impl Threads {
    /// A job of so many threads: give one to each.
    pub fn new(world_size: usize) -> Vec<Self> {
        let meeting = Arc::new(Meeting::default());
        meeting.lock().brought.resize(world_size, None);
        let thread = |rank| Self {
            rank,
            world_size,
            meeting: meeting.clone(),
            counters: Counters::default(),
        };
        (0..world_size).map(thread).collect()
    }

    fn meet(&self, own: Vec<u8>) -> Result<Arc<Vec<Vec<u8>>>, TransportError> {
        let mut state = self.meeting.lock();
        let round = state.rounds;
        state.brought[self.rank] = Some(own);
        if state.brought.iter().all(Option::is_some) {
            let all = state.brought.iter_mut().filter_map(Option::take);
            state.last = Arc::new(all.collect());
            state.rounds += 1;
            self.meeting.changed.notify_all();
        }
        while state.rounds == round {
            if let Some(error) = &state.ended {
                return Err(error.clone());
            }
            let waited = self.meeting.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(state.last.clone())
    }

    fn end(&self, error: TransportError) {
        self.meeting.lock().ended.get_or_insert(error);
        self.meeting.changed.notify_all();
    }
}

impl Meeting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end(TransportError::Gone { rank: self.rank });
    }
}

impl Transport for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world_size
    }

    fn exchange(&self, blocks: &[f32], received: &mut [f32]) -> Result<(), TransportError> {
        let all = self.meet(bytes(blocks))?;
        let block = received.len() / self.world_size;
        for (row, received) in all.iter().zip(received.chunks_mut(block.max(1))) {
            read(&row[size_of::<f32>() * block * self.rank..], received);
        }
        Ok(())
    }

    fn collect(&self, own: &[f32], all: &mut [f32]) -> Result<(), TransportError> {
        let rows = self.meet(bytes(own))?;
        for (row, all) in rows.iter().zip(all.chunks_mut(own.len().max(1))) {
            read(row, all);
        }
        Ok(())
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, TransportError> {
        Ok(self.meet(own.to_vec())?.to_vec())
    }

    fn abort(&self, _exit_code: u8) {
        self.end(TransportError::Aborted { rank: self.rank });
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_ne_bytes()).collect()
}

fn read(bytes: &[u8], values: &mut [f32]) {
    let (numbers, _) = bytes.as_chunks();
    for (value, number) in values.iter_mut().zip(numbers) {
        *value = f32::from_ne_bytes(*number);
    }
}
