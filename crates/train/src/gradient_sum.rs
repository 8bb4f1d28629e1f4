//! The sum of the gradients of all processes, sent while they are computed.
//!
//! Every process sends the gradients of the same parameters in the same order, with zeros where it
//! has none, so that a process without targets joins every sum. Only trained parameters are sent.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{mem, thread, vec};

use burn::tensor::{Device, Tensor, TensorData};
use plw_kernels::{QueuePoint, Readback, device_sum, is_on_cuda};
use plw_model::{Llama, NamedTensors, accumulate};
use plw_transport::{DeviceTransport, Transport, TransportError};

/// Values that are added up at once, but for a larger parameter: 16 MiB. Fewer would cost more
/// messages.
const BUCKET: usize = 1 << 22;

/// Parameters whose gradients are complete at the same time.
type Stage = Vec<Parameter>;

struct Parameter {
    name: String,
    elements: usize,
    /// None: zeros.
    gradient: Option<Tensor<1>>,
}

/// Takes the gradients of this process, stage by stage.
pub(crate) struct Sending {
    stages: vec::IntoIter<Stage>,
    to_sum: Sender<(QueuePoint, Stage)>,
}

impl Sending {
    /// Sends the next stage: of each parameter what the micro-batches before have left in `total`
    /// and what the last has in `part`. False if there is none.
    pub(crate) fn next(&mut self, total: &mut NamedTensors, part: &mut NamedTensors) -> bool {
        let Some(mut stage) = self.stages.next() else {
            return false;
        };
        for parameter in &mut stage {
            let mut sum = NamedTensors::new();
            for source in [&mut *total, &mut *part] {
                let found = source.remove_entry(&parameter.name);
                accumulate(&mut sum, found.into_iter().collect());
            }
            parameter.gradient = sum.remove(&parameter.name);
        }
        // Where nobody receives any more, the thread that did tells why.
        let _ = self.to_sum.send((QueuePoint::here(), stage));
        true
    }
}

/// Runs the passes of this process, and returns what they return with the gradients of all
/// processes. `passes` may send stages as they are complete; the rest is sent after it. With
/// `by_layer` a stage is what lies above the last layer, then each layer from the last to the
/// first, with the embeddings; else there is one.
///
/// # Errors
///
/// If another process has ended.
pub(crate) fn summed<R>(
    model: &Llama,
    by_layer: bool,
    transport: &dyn Transport,
    passes: impl FnOnce(&mut Sending) -> (R, NamedTensors),
) -> Result<(R, NamedTensors), TransportError> {
    let device = model.lm_head().inner().device();
    thread::scope(|scope| {
        let (to_sum, stages) = channel();
        let sums = scope.spawn(move || sums_of(stages, transport, &device));
        let mut sending = Sending {
            stages: stages_of(model, by_layer).into_iter(),
            to_sum,
        };
        let (result, mut rest) = passes(&mut sending);
        while sending.next(&mut rest, &mut NamedTensors::new()) {}
        drop(sending);
        let gradients = sums.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok((result, gradients))
    })
}

/// The trained parameters, in the order in which their gradients are complete.
fn stages_of(model: &Llama, by_layer: bool) -> Vec<Stage> {
    let layers = model.config().num_hidden_layers();
    let mut stages: Vec<Stage> = Vec::new();
    stages.resize_with(if by_layer { 1 + layers } else { 1 }, Vec::new);
    let trained = model.parameters().into_iter().filter(|p| p.trainable);
    for parameter in trained {
        let stage = match by_layer {
            true => stage_of(&parameter.name, layers),
            false => 0,
        };
        stages[stage].push(Parameter {
            elements: parameter.shape.iter().product(),
            name: parameter.name,
            gradient: None,
        });
    }
    stages
}

/// 0 above the last layer, `layers` in the first layer and below.
fn stage_of(name: &str, layers: usize) -> usize {
    let Some(rest) = name.strip_prefix("model.") else {
        return 0;
    };
    let layer = rest.strip_prefix("layers.").and_then(|rest| {
        let (number, _) = rest.split_once('.')?;
        number.parse::<usize>().ok()
    });
    match layer {
        Some(number) => layers - number,
        None if rest.starts_with("embed_tokens.") => layers,
        None => 0,
    }
}

/// Adds up the stages as they come.
fn sums_of(
    stages: Receiver<(QueuePoint, Stage)>,
    transport: &dyn Transport,
    device: &Device,
) -> Result<NamedTensors, TransportError> {
    let mut sums = NamedTensors::new();
    let is_cuda = is_on_cuda(&Tensor::zeros([1], device));
    let gpu = transport.on_device().filter(|_| is_cuda);
    let mut add = |bucket: Stage| match &gpu {
        Some(gpu) => {
            add_on_gpu(bucket, transport.world_size(), gpu, device, &mut sums);
            Ok(())
        }
        None => add(bucket, transport, device, &mut sums),
    };
    for (computed, stage) in stages {
        computed.wait(device);
        let mut bucket: Stage = Vec::new();
        let mut elements = 0;
        for parameter in stage {
            elements += parameter.elements;
            bucket.push(parameter);
            if elements >= BUCKET {
                add(mem::take(&mut bucket))?;
                elements = 0;
            }
        }
        add(bucket)?;
    }
    Ok(sums)
}

/// Adds up in the memory of the processors, where the gradients of a GPU are copied to and from.
fn add(
    bucket: Stage,
    transport: &dyn Transport,
    device: &Device,
    sums: &mut NamedTensors,
) -> Result<(), TransportError> {
    let gradients = bucket.iter().filter_map(|p| p.gradient.clone());
    let mut found = Readback::new(gradients.collect()).wait().into_iter();
    let mut values: Vec<f32> = Vec::with_capacity(bucket.iter().map(|p| p.elements).sum());
    for parameter in &bucket {
        match parameter.gradient {
            Some(_) => values.extend(found.next().expect("one for each gradient")),
            None => values.resize(values.len() + parameter.elements, 0.0),
        }
    }
    transport.sum(&mut values)?;
    let mut rest = &values[..];
    for parameter in bucket {
        let (sum, after) = rest.split_at(parameter.elements);
        rest = after;
        let data = TensorData::new(sum.to_vec(), [parameter.elements]);
        sums.insert(parameter.name, Tensor::from_data(data, device));
    }
    Ok(())
}

/// Adds up on the GPUs, which nobody waits for.
fn add_on_gpu(
    bucket: Stage,
    processes: usize,
    gpu: &Arc<dyn DeviceTransport>,
    device: &Device,
    sums: &mut NamedTensors,
) {
    if bucket.is_empty() {
        return;
    }
    let gradient = |parameter: &Parameter| {
        let zeros = || Tensor::zeros([parameter.elements], device);
        parameter.gradient.clone().unwrap_or_else(zeros)
    };
    let sum = device_sum(
        Tensor::cat(bucket.iter().map(gradient).collect(), 0),
        gpu,
        processes,
    );
    let mut end = 0;
    for parameter in bucket {
        let start = end;
        end += parameter.elements;
        sums.insert(parameter.name, sum.clone().slice(start..end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_computed_first_is_sent_first() {
        for (name, stage) in [
            ("lm_head.weight", 0),
            ("model.norm.weight", 0),
            ("model.layers.11.mlp.up_proj.weight", 1),
            ("model.layers.0.self_attn.q_proj.lora_A.weight", 12),
            ("model.embed_tokens.weight", 12),
        ] {
            assert_eq!(stage_of(name, 12), stage, "{name}");
        }
    }
}
