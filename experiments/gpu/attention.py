"""Attention's CUDA kernels on this GPU: values and gradients against PyTorch's f64, the same bits
each time, and the speed beside PyTorch's FlashAttention.

    python experiments/gpu/attention.py crates/kernels/src/cube/cuda/attention attention.json

NVRTC compiles the sources in the folder as plw does. Takes about a minute; ends with a number other
than 0 where a value is wrong.
"""

from __future__ import annotations

import argparse
import ctypes
import glob
import json
import math
import site
import sys
from pathlib import Path

import torch

PARTS = ("primitives", "tiles", "forward", "backward")
TILE, THREADS = 64, 128
# Of a piece of the work for a tile of keys: the shortest that is worth it, the blocks that all are
# to occupy, and the slot of one that is all of its tile's work.
SHORTEST_PIECE, BLOCKS, WHOLE = 16, 512, -1
# The greatest errors, as root mean squares relative to the values'.
GRADIENTS = ("grad_query", "grad_key", "grad_value")
BARS = {"log_sum_exp": 1e-5, "output": 8e-3, **dict.fromkeys(GRADIENTS, 8e-3)}
# As the driver's header numbers them.
SHARED_BYTES, LOCAL_BYTES, REGISTERS = 8, 3, 4


def library(*names: str) -> ctypes.CDLL:
    """The first of the libraries that opens; PyTorch's wheels bring some."""
    patterns = [f"{d}/nvidia/**/{name}" for name in names for d in site.getsitepackages()]
    found = [path for pattern in patterns for path in glob.glob(pattern, recursive=True)]
    for path in [*found, *names]:
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    sys.exit(f"none of {', '.join(names)} opens")


def compiled(sources: Path, head_dim: int) -> ctypes.Array:
    """The kernels as PTX."""
    nvrtc = library("libnvrtc.so.13", "libnvrtc.so.12")
    source = "".join((sources / f"{part}.cu").read_text() for part in PARTS)
    major, minor = torch.cuda.get_device_capability()
    options = (
        f"--gpu-architecture=compute_{major}{minor}",
        f"--define-macro=HEAD_DIM={head_dim}",
        "--std=c++17",
    )
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), None, 0, None, None)
    array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), array)
    kind = "ProgramLog" if failed else "PTX"
    getattr(nvrtc, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{kind}")(program, text)
    if failed:
        sys.exit(f"NVRTC refuses the kernels: {text.value.decode()}")
    return text


def c_values(arguments: list) -> list:
    """A kernel's arguments: addresses of tensors, f32, and i32 where it does not say otherwise."""
    return [
        ctypes.c_uint64(x.data_ptr())
        if isinstance(x, torch.Tensor)
        else ctypes.c_float(x)
        if isinstance(x, float)
        else ctypes.c_int(x)
        if isinstance(x, int)
        else x
        for x in arguments
    ]


class Kernels:
    """Those for heads of one width, on the current GPU."""

    def __init__(self, sources: Path, head_dim: int) -> None:
        self.driver = library("libcuda.so.1")
        torch.zeros(1, device="cuda")  # Makes PyTorch's context current.
        module = ctypes.c_void_p()
        self.check(self.driver.cuModuleLoadData(ctypes.byref(module), compiled(sources, head_dim)))
        tile = TILE * head_dim * 2
        self.shared = {
            "forward": 4 * tile,
            "grad_query": 4 * tile,
            "grad_key_value": 6 * tile + 4 * TILE * 4,
            "add_pieces": 0,
        }
        self.functions = {name: self.function(module, name) for name in self.shared}
        self.facts = {f"{name} {head_dim}": self.describe(name) for name in self.shared}

    def check(self, code: int) -> None:
        if code != 0:
            text = ctypes.c_char_p()
            self.driver.cuGetErrorString(code, ctypes.byref(text))
            sys.exit(f"the driver's error {code}: {text.value}")

    def function(self, module: ctypes.c_void_p, name: str) -> ctypes.c_void_p:
        found = ctypes.c_void_p()
        full_name = f"attention_{name}".encode()
        self.check(self.driver.cuModuleGetFunction(ctypes.byref(found), module, full_name))
        self.check(self.driver.cuFuncSetAttribute(found, SHARED_BYTES, self.shared[name]))
        return found

    def describe(self, name: str) -> dict:
        value, facts = ctypes.c_int(), {"shared bytes": self.shared[name]}
        for fact, attribute in (("registers", REGISTERS), ("local bytes", LOCAL_BYTES)):
            self.driver.cuFuncGetAttribute(ctypes.byref(value), attribute, self.functions[name])
            facts[fact] = value.value
        self.driver.cuOccupancyMaxActiveBlocksPerMultiprocessor(
            ctypes.byref(value), self.functions[name], THREADS, ctypes.c_size_t(self.shared[name])
        )
        return {**facts, "blocks a multiprocessor": value.value}

    def launch(self, name: str, width: int, height: int, arguments: list) -> None:
        values = c_values(arguments)
        pointers = (ctypes.c_void_p * len(values))(
            *(ctypes.cast(ctypes.byref(value), ctypes.c_void_p) for value in values)
        )
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        size = (width, height, 1, THREADS, 1, 1, self.shared[name])
        self.check(self.driver.cuLaunchKernel(self.functions[name], *size, stream, pointers, None))


def divide(reach, key_heads: int) -> tuple[list, list]:
    """The pieces of each tile of keys and the divided tiles, from `[batch, tiles]` until where a
    tile is seen, as plw's `KeyPieces`."""
    pieces, divided, slots = [], [], 0
    firsts = [number % reach.shape[1] for number in range(reach.numel())]
    lengths = [
        -(-until // TILE) - first for until, first in zip(reach.flatten().tolist(), firsts)
    ]
    longest = max(SHORTEST_PIECE, sum(lengths) * key_heads // BLOCKS)
    for number, (first, length) in enumerate(zip(firsts, lengths)):
        parts = -(-length // longest)
        bounds = [first + part * length // parts for part in range(parts + 1)]
        for part, piece in enumerate(zip(bounds, bounds[1:])):
            pieces.append([number, *piece, slots + part if parts > 1 else WHOLE])
        if parts > 1:
            divided.append([number, slots, slots + parts])
            slots += parts
    pieces.sort(key=lambda piece: piece[1] - piece[2])
    return pieces, divided


class Attention:
    """An attention of random numbers. `until` is `[batch, seq]`."""

    def __init__(self, until, heads: int, key_value_heads: int, head_dim: int, device: str) -> None:
        self.until, self.device = until, device
        self.heads, self.key_value_heads, self.head_dim = heads, key_value_heads, head_dim
        self.batch, self.seq = until.shape
        self.tokens = self.batch * self.seq
        self.tiles = -(-self.seq // TILE)
        random = lambda heads: torch.randn(self.tokens, heads * head_dim).bfloat16().to(device)
        self.qkv, self.grad_output = random(heads + 2 * key_value_heads), random(heads)
        angles = torch.randn(self.tokens, head_dim // 2) * 10
        self.angles = [angles.cos().to(device), angles.sin().to(device)]
        padded = torch.zeros(self.batch, self.tiles * TILE, dtype=torch.int64)
        padded[:, : self.seq] = until
        reach = padded.reshape(self.batch, self.tiles, TILE).amax(2)
        # Of each tile of queries the first tile of keys that it sees.
        firsts = torch.arange(self.tiles) * TILE
        seen = (reach[:, None] > firsts[:, None]).int().argmax(2)
        spans = torch.stack([reach, seen], 2)
        pieces, divided = divide(reach, key_value_heads)
        self.piece_count, self.divided_count = len(pieces), len(divided)
        slots = max((piece[3] + 1 for piece in pieces), default=0)
        of_slot = key_value_heads * 2 * TILE * head_dim
        self.piece_sums = torch.full((max(slots, 1), of_slot), math.nan, device=device)
        tables = (until, spans, torch.tensor(pieces), torch.tensor(divided or [[0] * 3]))
        tables = [table.flatten().int().to(device) for table in tables]
        self.mask, self.pieces, self.divided = tables[:2], tables[2], tables[3]
        self.sizes = [self.seq, heads, key_value_heads, head_dim**-0.5]

    def forward(self, kernels) -> list:
        output = torch.full_like(self.grad_output, math.nan)
        log_sum_exp = torch.full((self.tokens, self.heads), math.nan, device=self.device)
        arguments = [self.qkv, *self.mask, output, log_sum_exp, *self.sizes]
        kernels.launch("forward", self.batch * self.tiles, self.heads, arguments)
        return [output, log_sum_exp]

    def backward(self, kernels, output, log_sum_exp):
        products = torch.full_like(log_sum_exp, math.nan)
        grad_qkv = torch.full_like(self.qkv, math.nan)
        before = [*self.angles, log_sum_exp]
        after = [products, self.grad_output, grad_qkv]
        arguments = [self.qkv, *self.mask, *before, output, *after, *self.sizes]
        kernels.launch("grad_query", self.batch * self.tiles, self.heads, arguments)
        arguments = [self.qkv, self.mask[0], self.pieces, *before, *after]
        arguments += [self.piece_sums, *self.sizes]
        kernels.launch("grad_key_value", self.piece_count, self.key_value_heads, arguments)
        if self.divided_count:
            arguments = [self.divided, *self.angles, self.piece_sums, grad_qkv, *self.sizes]
            blocks = self.key_value_heads * self.head_dim // 8
            kernels.launch("add_pieces", self.divided_count, blocks, arguments)
        return grad_qkv

    def reference(self) -> list:
        """Output, log-sum-exp and the gradient before the rotation, in f64."""
        heads, shared = self.heads, self.key_value_heads
        qkv = self.qkv.double().requires_grad_()
        shape = (self.batch, self.seq, heads + 2 * shared, self.head_dim)
        query, key, value = qkv.reshape(shape).transpose(1, 2).split([heads, shared, shared], 1)
        key, value = (x.repeat_interleave(heads // shared, 1) for x in (key, value))
        at, until = torch.arange(self.seq, device=self.device), self.until.to(self.device)
        sees = (at[None, None] <= at[None, :, None]) & (at[None, :, None] < until[:, None])
        scores = query @ key.transpose(2, 3) * self.head_dim**-0.5
        scores = scores.masked_fill(~sees[:, None], -math.inf)
        log_sum_exp = scores.logsumexp(3).transpose(1, 2).reshape(self.tokens, heads)
        output = (scores.softmax(3) @ value).transpose(1, 2).reshape(self.tokens, -1)
        output.backward(self.grad_output.double())
        rotated = (heads + shared) * self.head_dim
        rotated, values = qkv.grad.tensor_split([rotated], 1)
        first, second = rotated.reshape(self.tokens, heads + shared, -1).chunk(2, 2)
        cosine, sine = (angles.double()[:, None] for angles in self.angles)
        back = torch.cat([first * cosine + second * sine, second * cosine - first * sine], 2)
        gradient = torch.cat([back.reshape(self.tokens, -1), values], 1)
        return [output.detach(), log_sum_exp.detach(), gradient]

    def operations(self) -> int:
        """Those of the forward pass, of visible pairs only."""
        pairs = int((self.until - torch.arange(self.seq)).sum())
        return 4 * pairs * self.heads * self.head_dim


def mask(kind: str, batch: int, seq: int):
    """`visible_until` of each token."""
    until = torch.empty(batch, seq, dtype=torch.int64)
    longest = {"causal": seq, "race": 800, "system prompt": 800}.get(kind, max(1, seq // 2))
    at = torch.arange(seq)
    for row in until:
        start = 0
        while start < seq:
            length = seq if kind == "causal" else 1 + int(torch.randint(longest, (1,)))
            end = min(seq, start + length)
            row[start:end] = end
            if kind == "prefixes":  # Completions of 8 tokens that only their own tokens see.
                prompt = start + (end - start) // 3
                row[prompt:end] = (at[prompt:end] - prompt) // 8 * 8 + 8 + prompt
                row.clamp_(max=seq)
            start = end
        if kind == "system prompt":
            row[:40] = seq
        if kind == "random":
            row.copy_(at + 1 + (torch.rand(seq) * (seq - at)).long())
            row.clamp_(max=seq)
    return until


def relative(found, expected) -> float:
    errors, values = (found.double() - expected).square().mean(), expected.square().mean()
    return float((errors / values.clamp_min(1e-2)).sqrt())


def compare(attention: Attention, kernels) -> dict:
    saved = attention.forward(kernels)
    gradient = attention.backward(kernels, *saved)
    again = attention.forward(kernels)
    is_same = torch.equal(saved[0], again[0]) and torch.equal(
        gradient, attention.backward(kernels, *again)
    )
    output, log_sum_exp, expected = attention.reference()
    heads, shared = attention.heads, attention.key_value_heads
    widths = [count * attention.head_dim for count in (heads, shared, shared)]
    gradients = zip(gradient.split(widths, 1), expected.split(widths, 1))
    errors = {
        "output": relative(saved[0], output),
        "log_sum_exp": relative(saved[1], log_sum_exp),
        **{name: relative(*pair) for name, pair in zip(GRADIENTS, gradients)},
    }
    is_met = is_same and all(errors[name] < bar for name, bar in BARS.items())
    return {**errors, "same bits": is_same, "met": is_met}


def values(kernels_of, device: str, cases) -> list[dict]:
    rows = []
    for head_dim in (64, 128):
        for batch, seq, heads, key_value_heads, kind in cases:
            until = mask(kind, batch, seq)
            attention = Attention(until, heads, key_value_heads, head_dim, device)
            found = compare(attention, kernels_of(head_dim))
            case = f"{head_dim}: {batch} x {seq}, {heads}/{key_value_heads} heads, {kind}"
            rows.append({"case": case, **found})
            numbers = (f"{name} {x:.1e}" for name, x in found.items() if isinstance(x, float))
            is_met = "met" if found["met"] else "NOT MET"
            print(f"{case}: {', '.join(numbers)}: {is_met}", flush=True)
    return rows


def milliseconds(work) -> float:
    times = []
    for _ in range(12):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times[2:])[5]


def of_pytorch(attention: Attention) -> dict:
    """PyTorch's FlashAttention on the same causal rows, keys and values repeated before."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    heads, shared = attention.heads, attention.key_value_heads
    shape = (attention.batch, attention.seq, heads + 2 * shared, attention.head_dim)
    parts = attention.qkv.reshape(shape).transpose(1, 2).split([heads, shared, shared], 1)
    parts = [x.repeat_interleave(heads // x.shape[1], 1).contiguous() for x in parts]
    query, key, value = (x.requires_grad_() for x in parts)
    attend = torch.nn.functional.scaled_dot_product_attention
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        output = attend(query, key, value, is_causal=True)
        grad_output = torch.randn_like(output)
        backward = lambda: torch.autograd.grad(
            output, (query, key, value), grad_output, retain_graph=True
        )
        return {
            "pytorch forward": milliseconds(lambda: attend(query, key, value, is_causal=True)),
            "pytorch backward": milliseconds(backward),
        }


def speed_of(case: str, attention: Attention, kernels) -> dict:
    saved = attention.forward(kernels)
    times = {
        "forward": milliseconds(lambda: attention.forward(kernels)),
        "backward": milliseconds(lambda: attention.backward(kernels, *saved)),
        **(of_pytorch(attention) if case.endswith("causal") else {}),
    }
    row = {"case": case}
    for name, time in times.items():
        factor = 2.5 if name.endswith("backward") else 1.0
        tera = attention.operations() * factor / time / 1e9
        row[name] = {"milliseconds": time, "teraflops": tera}
        print(f"{case}: {name} {time:.3f} ms, {tera:.0f} TFLOP/s", flush=True)
    return row


def speed(kernels_of) -> list[dict]:
    rows = []
    for model, batch, heads, key_value_heads, head_dim in (
        ("SmolLM2-135M", 16, 9, 3, 64),
        ("Llama-2-7B", 8, 32, 32, 128),
    ):
        for kind in ("race", "causal", "system prompt"):
            # One row, as of shared prefixes.
            shape = (1, batch * 1024) if kind == "system prompt" else (batch, 2048)
            until = mask(kind, *shape)
            attention = Attention(until, heads, key_value_heads, head_dim, "cuda")
            case = f"{model}, {shape[0]} x {shape[1]}, {kind}"
            rows.append(speed_of(case, attention, kernels_of(head_dim)))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, help="the folder of primitives.cu")
    parser.add_argument("out", type=Path, help="where the results go as JSON")
    options = parser.parse_args()
    torch.manual_seed(0)
    made: dict[int, Kernels] = {}

    def kernels_of(head_dim: int) -> Kernels:
        if head_dim not in made:
            made[head_dim] = Kernels(options.sources, head_dim)
            for name, facts in made[head_dim].facts.items():
                print(name, facts, flush=True)
        return made[head_dim]

    cases = (
        (1, 1, 1, 1, "causal"),
        (2, 64, 1, 1, "causal"),
        (1, 65, 3, 1, "packed"),
        (2, 129, 2, 2, "prefixes"),
        (2, 200, 9, 3, "random"),
        (3, 777, 9, 3, "packed"),
        (2, 1024, 4, 4, "prefixes"),
        (2, 1500, 8, 2, "random"),
        (1, 2048, 9, 3, "packed"),
        (1, 2300, 6, 2, "causal"),
        (1, 2300, 6, 2, "system prompt"),
    )
    rows = values(kernels_of, "cuda", cases)
    report = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "kernels": {
            name: facts for kernels in made.values() for name, facts in kernels.facts.items()
        },
        "values": rows,
        "speed": speed(kernels_of),
    }
    options.out.write_text(json.dumps(report, indent=1))
    wrong = [row["case"] for row in rows if not row["met"]]
    print(f"{len(rows) - len(wrong)} of {len(rows)} cases are right; wrong: {wrong or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
