"""What both programs share: training options, adapters, the optimizer, the lines they print."""

from __future__ import annotations

import argparse
import json
import sys

import torch
from transformers import PreTrainedModel

from questions import fail

LINEAR_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that mean the same in both programs."""
    parser.add_argument("--plw", type=float, default=1.0, help="weight of a prompt token's loss")
    parser.add_argument("--lr", type=float, default=2e-4, help="learning rate")
    parser.add_argument("--weight-decay", type=float, default=1e-3)
    parser.add_argument("--clip", type=float, default=0.3, help="gradient norm; 0: no clipping")
    parser.add_argument("--warmup", type=int, default=0, help="linear warm-up steps, then constant")
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps")
    parser.add_argument("--max-len", type=int, default=2048, help="longer examples are left out")
    parser.add_argument("--lora", help="rank,alpha[,dropout]: train adapters on all linear layers")
    parser.add_argument("--save-init", help="write the initial adapter to this directory")
    parser.add_argument("--seed", type=int, default=1234)


def add_adapters(model: PreTrainedModel, lora: str, save_init: str | None) -> PreTrainedModel:
    """Wraps a model in adapters, as `rank,alpha[,dropout]` describes them."""
    from peft import LoraConfig, get_peft_model

    parts = lora.split(",")
    if len(parts) not in (2, 3):
        fail(f"--lora {lora}: give rank,alpha or rank,alpha,dropout")
    rank, alpha = int(parts[0]), int(parts[1])
    dropout = float(parts[2]) if len(parts) == 3 else 0.0
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=LINEAR_LAYERS,
    )
    model = get_peft_model(model, config)
    if save_init:
        model.save_pretrained(save_init)
    return model


def make_optimizer(
    parameters: list[torch.nn.Parameter], options: argparse.Namespace, fused: bool | None = None
) -> torch.optim.Optimizer:
    """AdamW with PyTorch's betas and epsilon."""
    return torch.optim.AdamW(
        parameters,
        lr=options.lr,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=options.weight_decay,
        fused=fused,
    )


def set_learning_rate(
    optimizer: torch.optim.Optimizer, options: argparse.Namespace, step: int
) -> float:
    """The learning rate of a step, counted from 0: linear warm-up, then constant."""
    rate = options.lr
    if options.warmup:
        rate *= min(1.0, (step + 1) / options.warmup)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def peak_memory_bytes() -> int | None:
    """The most memory that this process held; macOS counts in bytes, Linux in KiB."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def print_line(**values: object) -> None:
    """One JSON object on a line of its own."""
    print(json.dumps(values), flush=True)
