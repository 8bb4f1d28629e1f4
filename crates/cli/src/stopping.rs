//! How a run stops: at a complete checkpoint, within a limit, or at once where it has nothing to
//! save.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::signals::{self, Stop};

/// Schedulers send a signal to every process of a job, and a program passes it on to another one,
/// which then gets it twice. What comes again within this time is the same request.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// What is done before the process ends without returning to its caller: it is given the reason.
type AtEnd = Box<dyn FnOnce(&str) + Send>;

#[derive(Default)]
struct State {
    request: Option<(Stop, Instant)>,
    can_save: bool,
    /// Whether the process must not end just now.
    is_held: bool,
    at_end: Option<AtEnd>,
}

/// A request to stop, if there is one.
#[derive(Default)]
pub(crate) struct Stopping {
    state: Mutex<State>,
    limit: Option<Duration>,
    /// Whether it says what it does. Of several processes the first does.
    says: bool,
}

impl Stopping {
    /// Watches for signals from now on. Until the run has something to save, the first ends the
    /// process. Then the first asks it to stop, for which it has `limit` seconds, if any, and a
    /// later one ends it.
    pub(crate) fn watch(limit: Option<u64>, says: bool) -> Arc<Self> {
        let stopping = Arc::new(Self {
            limit: limit.map(Duration::from_secs),
            says,
            ..Self::default()
        });
        let asked = stopping.clone();
        if let Err(error) = signals::watch(move |request| asked.ask(request)) {
            tracing::warn!("Ctrl-C will stop at once, not at a checkpoint: {error}");
        }
        stopping
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request to stop.
    pub(crate) fn request(&self) -> Option<Stop> {
        self.state().request.map(|(request, _)| request)
    }

    /// From now on a request is heeded by the run itself.
    pub(crate) fn training_begins(&self) {
        self.state().can_save = true;
    }

    /// Does something that must not be left half done: a request that comes meanwhile is heeded
    /// after it.
    pub(crate) fn holding<T>(&self, work: impl FnOnce() -> T) -> T {
        self.state().is_held = true;
        let done = work();
        let mut state = self.state();
        state.is_held = false;
        match state.request {
            Some((request, _)) if !state.can_save => self.end(state, request),
            _ => done,
        }
    }

    /// Has something done before the process ends at once.
    pub(crate) fn at_end(&self, at_end: impl FnOnce(&str) + Send + 'static) {
        self.state().at_end = Some(Box::new(at_end));
    }

    fn ask(self: &Arc<Self>, request: Stop) {
        let mut state = self.state();
        if let Some((first, when)) = state.request {
            if when.elapsed() >= SAME_REQUEST && !state.is_held {
                self.end(state, first);
            }
            return;
        }
        state.request = Some((request, Instant::now()));
        if state.is_held {
            return;
        }
        if !state.can_save {
            self.end(state, request);
        }
        drop(state);
        let again = match request {
            Stop::Interrupt => "press Ctrl-C again",
            _ => "send the signal again",
        };
        if self.says {
            tracing::warn!("stopping at a checkpoint; {again} to stop at once");
        }
        if let Some(limit) = self.limit {
            let stopping = self.clone();
            std::thread::spawn(move || {
                std::thread::sleep(limit);
                tracing::warn!(
                    "the run has not stopped within {} seconds: it ends at its last complete \
                     checkpoint",
                    limit.as_secs()
                );
                stopping.end(stopping.state(), request);
            });
        }
    }

    /// Ends the process. A kill at any moment leaves what was complete.
    fn end(&self, mut state: MutexGuard<'_, State>, request: Stop) -> ! {
        let at_end = state.at_end.take();
        drop(state);
        if let Some(at_end) = at_end {
            at_end(request.name());
        }
        std::process::exit(request.exit_code().into())
    }
}
