"""Weights rounded to what QLoRA keeps of them: 4-bit NormalFloat with double quantization.

bitsandbytes finds the codes and restores the weights. The scales' codes are the nearest ones, as
its kernel for GPUs finds them; its search for CPUs misses the nearest code of 0.2 % of the scales.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from training import LINEAR_LAYERS

# Elements that share a scale, and scales that share one.
BLOCK, GROUP = 64, 256


def nearest(values: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """The values of the nearest of the codes, which are sorted."""
    return codes[torch.bucketize(values, (codes[:-1] + codes[1:]) / 2)]


def round_scales(scales: torch.Tensor) -> torch.Tensor:
    """Scales in 8 bits, relative to their mean, in groups."""
    from bitsandbytes import functional

    mean = scales.mean()
    groups = torch.nn.functional.pad(scales - mean, (0, -scales.numel() % GROUP))
    groups = groups.reshape(-1, GROUP)
    greatest = groups.abs().amax(dim=1, keepdim=True).clamp(min=1e-38)
    rounded = nearest(groups * (1.0 / greatest), functional.create_dynamic_map()) * greatest
    return rounded.flatten()[: scales.numel()] + mean


def round_weights(model: PreTrainedModel) -> None:
    """Rounds the linear weights of all layers."""
    from bitsandbytes import functional

    for name, weight in model.named_parameters():
        if name.split(".")[-2] not in LINEAR_LAYERS:
            continue
        packed, state = functional.quantize_4bit(weight.data, blocksize=BLOCK, quant_type="nf4")
        state.absmax = round_scales(state.absmax)
        weight.data.copy_(functional.dequantize_4bit(packed, state))
