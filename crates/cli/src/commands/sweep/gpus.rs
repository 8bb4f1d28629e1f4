//! The GPUs that the workers of `plw sweep --submit local` share out among them.

use super::grid::Planned;
use crate::device::ComputeDevice;

/// What tells CUDA which GPUs a process sees.
const VISIBLE_GPUS: &str = "CUDA_VISIBLE_DEVICES";

/// The GPUs that workers share out among them, as CUDA names them. None where the runs compute on
/// the CPU, or name a GPU themselves.
pub(super) struct Gpus(Vec<String>);

impl Gpus {
    /// Those that this process sees.
    pub(super) fn of(runs: &[Planned], workers: usize) -> Self {
        let is_any = |run: &Planned| {
            let settings = run.settings();
            settings.is_ok_and(|settings| settings.source.device == ComputeDevice::Cuda(0))
        };
        if !runs.iter().all(is_any) {
            return Self(Vec::new());
        }
        let count = plw_kernels::GpuRuntime::Cuda.devices().len();
        let gpus = Self::named(std::env::var(VISIBLE_GPUS).ok().as_deref(), count);
        if (1..workers).contains(&count) {
            tracing::warn!(
                "{workers} workers share {count} GPUs: --workers {count} gives each one"
            );
        }
        gpus
    }

    /// Those that CUDA shows, and how many it shows.
    fn named(visible: Option<&str>, count: usize) -> Self {
        Self(match visible {
            Some(list) => list.split(',').take(count).map(str::to_string).collect(),
            None => (0..count).map(|number| number.to_string()).collect(),
        })
    }

    /// The variable that shows a worker, counted from 1, its one.
    pub(super) fn variable_of(&self, number: usize) -> Option<(&'static str, &str)> {
        let place = (number - 1).checked_rem(self.0.len())?;
        self.0.get(place).map(|gpu| (VISIBLE_GPUS, gpu.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_gets_a_gpu_of_those_that_are_visible() {
        let of = |visible, count| {
            let gpus = Gpus::named(visible, count);
            [1, 2, 3].map(|worker| gpus.variable_of(worker).map(|(_, gpu)| gpu.to_string()))
        };
        let some = |names: [&str; 3]| names.map(|name| Some(name.to_string()));
        assert_eq!(of(None, 8), some(["0", "1", "2"]));
        assert_eq!(of(None, 2), some(["0", "1", "0"]));
        assert_eq!(of(Some("5,GPU-a,7"), 3), some(["5", "GPU-a", "7"]));
        assert_eq!(of(None, 0), [None, None, None]);
    }
}
