"""Time and memory on a GPU, whose work runs behind the program's."""

from __future__ import annotations

import argparse
import time

import torch

Mark = torch.cuda.Event | float


def is_gpu(options: argparse.Namespace) -> bool:
    return options.device != "cpu"


def synchronize(options: argparse.Namespace) -> None:
    if is_gpu(options):
        torch.cuda.synchronize()


def mark(options: argparse.Namespace) -> Mark:
    """A point in time, on the GPU in the order of its work; nothing waits for it."""
    if not is_gpu(options):
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def seconds_between(first: Mark, last: Mark) -> float:
    """The time between two marks, once the GPU has passed both."""
    return last - first if isinstance(first, float) else first.elapsed_time(last) / 1e3


def peak_gpu_bytes(options: argparse.Namespace) -> int | None:
    """The most memory that PyTorch's tensors held."""
    return torch.cuda.max_memory_allocated() if is_gpu(options) else None
