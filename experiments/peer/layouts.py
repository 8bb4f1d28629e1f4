"""How the sequences of a batch lie in its rows: padded, or packed one after another."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch

import packed_attention
from questions import Example

NOTHING, PROMPT, COMPLETION = 0, 1, 2


@dataclass(frozen=True)
class Batch:
    """Tokens and their roles, [rows, tokens]; positions where packed, a mask where padded."""

    token_ids: torch.Tensor
    roles: torch.Tensor
    positions: torch.Tensor | None
    mask: torch.Tensor | None
    last_tokens: tuple[torch.Tensor, torch.Tensor]


def pad(examples: list[Example], options: argparse.Namespace) -> Batch:
    """One row a sequence, rounded up to --multiple tokens."""
    length = max(len(example.token_ids) for example in examples)
    length += -length % options.multiple
    token_ids = torch.zeros(len(examples), length, dtype=torch.long)
    roles = torch.zeros_like(token_ids)
    for row, example in enumerate(examples):
        end, start = len(example.token_ids), example.completion_start
        token_ids[row, :end] = torch.tensor(example.token_ids)
        roles[row, :start], roles[row, start:end] = PROMPT, COMPLETION
    mask = (roles > NOTHING).long().to(options.device)
    rows = torch.arange(len(examples), device=options.device)
    return Batch(
        token_ids.to(options.device), roles.to(options.device), None, mask, (rows, mask.sum(1) - 1)
    )


def pack(examples: list[Example], options: argparse.Namespace) -> Batch:
    """One row of all sequences, and with --multiple one span of padding: fewer shapes."""
    lengths = [len(example.token_ids) for example in examples]
    padding = -sum(lengths) % options.multiple
    if padding == 0 and options.multiple > 1:
        padding = options.multiple
    lengths += [padding] if padding else []
    token_ids = [token for example in examples for token in example.token_ids] + [0] * padding
    # No token predicts a sequence's first one.
    roles = [
        role
        for example in examples
        for role in [NOTHING]
        + [PROMPT] * (example.completion_start - 1)
        + [COMPLETION] * (len(example.token_ids) - example.completion_start)
    ] + [NOTHING] * padding
    positions = torch.cat([torch.arange(length) for length in lengths])
    ends = torch.tensor([0] + lengths).cumsum(0).to(torch.int32).to(options.device)
    longest = max(lengths)
    if options.multiple > 1:
        longest = max(options.max_len, options.multiple)
    elif options.compile:
        # Layers are compiled again for every other number.
        longest = options.longest
    packed_attention.set_spans(ends, longest)
    last = ends[1 : len(examples) + 1].long() - 1
    return Batch(
        torch.tensor(token_ids)[None].to(options.device),
        torch.tensor(roles)[None].to(options.device),
        positions[None].to(options.device),
        None,
        (torch.zeros_like(last), last),
    )


def lay_out(examples: list[Example], options: argparse.Namespace) -> Batch:
    return {"padded": pad, "packed": pack}[options.layout](examples, options)
