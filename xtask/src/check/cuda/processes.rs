//! Two processes with a GPU each, which add gradients over NCCL, next to one process.

use std::path::PathBuf;
use std::thread;

use miette::Result;

use super::emulator::environment;
use super::{BF16, DELAY, DEVICE};
use crate::check::compared::{Compared, SameBits};
use crate::check::device::{Bars, F32, Tested};
use crate::check::parallel::comparison::{are_same, losses, metrics};
use crate::process;

const PROCESSES: usize = 2;

/// What is trained: a name, the flags that differ from the smoke preset, and how far the losses of
/// two processes may be from those of one.
const RUNS: [(&str, &[&str], Bars); 2] = [
    (
        "full, accumulated",
        &[
            "--per-device-train-batch-size=2",
            "--gradient-accumulation-steps=4",
        ],
        F32,
    ),
    (
        "LoRA, recomputed, bf16",
        &[
            "--per-device-train-batch-size=2",
            "--gradient-accumulation-steps=4",
            "--lora-r=4",
            "--lora-dropout=0.1",
            "--gradient-checkpointing=true",
            "--bf16=true",
        ],
        BF16,
    ),
];

/// Trains with one process and with two, each of them twice, the second time with streams that wait
/// for other work.
pub(super) fn check(tested: &Tested<'_>) -> Result<(Vec<Compared>, Vec<SameBits>)> {
    let (mut compared, mut same_bits) = (Vec::new(), Vec::new());
    for (name, flags, bars) in RUNS {
        let mut first: Option<PathBuf> = None;
        for processes in [1, PROCESSES] {
            let name = format!("{name}, processes: {processes}");
            eprintln!("training: {name}");
            let train = |delay| train(tested, &name, processes, delay, flags);
            let (run, again) = (train(0)?, train(DELAY)?);
            same_bits.push(SameBits {
                what: name.clone(),
                same: are_same(&run, &again)?,
            });
            match &first {
                None => first = Some(run),
                Some(first) => compared.push(Compared {
                    what: format!("{name}: losses, against one"),
                    greatest_difference: losses(&name, &metrics(&run)?, &metrics(first)?)?,
                    bar: bars.loss,
                }),
            }
        }
    }
    Ok((compared, same_bits))
}

fn train(
    tested: &Tested<'_>,
    name: &str,
    processes: usize,
    delay: usize,
    flags: &[&str],
) -> Result<PathBuf> {
    let id = format!("{}-{delay}", name.replace([' ', ',', ':'], "-"));
    let records = tested.scratch.empty_run(&id)?;
    let start = |rank: usize| {
        let mut command = tested.training(DEVICE, flags, &records);
        command.envs(environment(processes, delay));
        if processes > 1 {
            command.envs(of_torchrun(rank, processes));
        }
        let log = tested.scratch.log(&format!("{id}-{rank}"));
        process::run_logged(&mut command, &log).map(drop)
    };
    let start = &start;
    thread::scope(|scope| {
        let ranks = (0..processes).map(|rank| scope.spawn(move || start(rank)));
        let ranks: Vec<_> = ranks.collect();
        let ended = ranks
            .into_iter()
            .map(|rank| rank.join().expect("it panics nowhere"));
        ended.collect::<Result<Vec<()>>>()
    })?;
    Ok(records)
}

/// The variables by which `torchrun` tells a process which it is.
fn of_torchrun(rank: usize, processes: usize) -> [(&'static str, String); 3] {
    [
        ("RANK", rank.to_string()),
        ("LOCAL_RANK", rank.to_string()),
        ("WORLD_SIZE", processes.to_string()),
    ]
}
