"""Attention over packed rows: sequences one after another in one row, each seeing only itself.

transformers tells an attention function nothing about the sequences of a row, so `set_spans` sets
those of the batch in flight, once a batch.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

NAME = "varlen"

# Where each sequence of the batch in flight begins and the last one ends (`ends`, i32), and the
# length of the longest (`longest`). A dictionary, because compiled layers read it as a global.
spans: dict[str, Any] = {}
# What this version of torch.nn.attention.varlen is called with.
support: dict[str, Any] = {}


def register(on_gpu: bool) -> None:
    """Makes `attn_implementation="varlen"` known to transformers."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
    if on_gpu:
        from torch.nn.attention.varlen import varlen_attn

        known = inspect.signature(varlen_attn).parameters
        causal = dict(window_size=(-1, 0)) if "window_size" in known else dict(is_causal=True)
        support.update(causal=causal, scale="scale" in known, grouped="enable_gqa" in known)


def set_spans(ends: torch.Tensor, longest: int) -> None:
    """Sets the sequences of the batch that comes next."""
    spans.update(ends=ends, longest=longest)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each sequence; query is [1, heads, tokens, head_dim]."""
    # Autocast leaves the results of RoPE in f32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if not query.is_cuda:
        return attend_span_by_span(query, key, value, scaling), None
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and not support["grouped"]:
        key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    optional: dict[str, Any] = {}
    if support["scale"]:
        optional["scale"] = scaling
    if support["grouped"]:
        optional["enable_gqa"] = True
    ends, longest = spans["ends"], spans["longest"]
    output = varlen_attn(
        query, key, value, ends, ends, longest, longest, **support["causal"], **optional
    )
    return output.unsqueeze(0), None


def attend_span_by_span(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """The same on a CPU, to check the layout where there is no GPU."""
    ends = spans["ends"].tolist()
    outputs = [
        torch.nn.functional.scaled_dot_product_attention(
            query[:, :, start:end],
            key[:, :, start:end],
            value[:, :, start:end],
            is_causal=True,
            scale=scaling,
            enable_gqa=True,
        )
        for start, end in zip(ends, ends[1:])
    ]
    return torch.cat(outputs, 2).transpose(1, 2)
