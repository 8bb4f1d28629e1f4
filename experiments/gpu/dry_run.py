"""What can be known of plw on an H100 without one? Needs no GPU, no driver and no PyTorch.

Runs the work of check.sh's stage `fast`, plw's side alone, with a CUDA driver that starts no kernel
(null_driver.c). NVRTC compiles every kernel for the card, ptxas then assembles it: one that does
not compile, spills registers or asks for more than the card has is found here. The launches, copies
and waits of a step are those on a GPU, and so is the memory that is allocated: the most of the run,
saving included, and the most while weights of 7B are loaded. The driver itself takes 1.1 to 1.5 GB
more. The host's time lacks that of the driver's calls. It is true on an idle machine alone:
CubeCL's threads spin where they wait for each other, and a step takes up to 30 times as long where
others want the same cores. What is computed is zero, and says nothing.

Python needs the wheels nvidia-cuda-nvrtc, nvidia-cuda-runtime, nvidia-cuda-nvcc, nvidia-cuda-crt
and nvidia-nvvm, which is NVIDIA's compiler. prepare.sh fills the folder of --files.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import fast
from command import Budget, Failure
from sides import Model, evaluate_plw, train_plw

HERE = Path(__file__).parent
CARD = "sm_90a"
# Rows that prepare.sh leaves. Where nothing is computed, fewer take no time that can be told.
QUESTIONS = 2000


def toolkit() -> Path:
    """NVIDIA's compiler, of its wheels."""
    found = importlib.util.find_spec("nvidia")
    for place in found.submodule_search_locations if found else []:
        for folder in Path(place).glob("cu*"):
            if (folder / "bin/ptxas").exists() and (folder / "include/cuda_bf16.h").exists():
                return folder
    sys.exit(f"dry_run.py: {sys.executable} has not all of the wheels that --help names")


def build_driver(folder: Path) -> Path:
    """The libraries that plw opens: the driver, and cuBLASLt."""
    folder.mkdir(parents=True, exist_ok=True)
    driver = folder / "libcuda.so.1"
    command = ["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", driver, HERE / "null_driver.c"]
    subprocess.run(command, check=True)
    for name in ["libcuda.so", "libcublasLt.so"]:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(driver.name)
    return folder


def unpack(options: argparse.Namespace) -> Path:
    plw = options.work / "plw"
    with lzma.open(options.files / "plw.xz") as packed, plw.open("wb") as binary:
        shutil.copyfileobj(packed, binary)
    plw.chmod(0o755)
    return plw


def shapes(config: dict) -> dict[str, list[int]]:
    """The tensors of a Llama, as transformers names them."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    values = config.get("num_key_value_heads", heads) * head
    linear = {
        "self_attn.q_proj": [heads * head, hidden],
        "self_attn.k_proj": [values, hidden],
        "self_attn.v_proj": [values, hidden],
        "self_attn.o_proj": [hidden, heads * head],
        "mlp.gate_proj": [inner, hidden],
        "mlp.up_proj": [inner, hidden],
        "mlp.down_proj": [hidden, inner],
    }
    vocabulary = [config["vocab_size"], hidden]
    found = {"model.embed_tokens.weight": vocabulary, "model.norm.weight": [hidden]}
    if not config.get("tie_word_embeddings"):
        found["lm_head.weight"] = vocabulary
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        found |= {f"{prefix}{name}.weight": shape for name, shape in linear.items()}
        for norm in ["input_layernorm", "post_attention_layernorm"]:
            found[f"{prefix}{norm}.weight"] = [hidden]
    return found


def make(folder: Path, config: Path, tokenizer: Path) -> None:
    """A model whose weights are zeros in bf16, which take no space on the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tokenizer, folder)
    shutil.copy(config, folder / "config.json")
    header, end = {}, 0
    for name, shape in shapes(json.loads(config.read_text())).items():
        start, end = end, end + 2 * shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


@dataclass
class Kernel:
    """What ptxas says of a kernel, and the shared memory that it is started with."""

    name: str
    registers: int = 0
    spilled: int = 0
    shared: int = 0
    message: str = ""


def sum_of(pattern: str, text: str) -> int:
    return sum(int(number) for number in re.findall(pattern, text))


def assemble(ptxas: Path, source: Path) -> list[Kernel]:
    """The kernels of a module."""
    command = [ptxas, f"-arch={CARD}", "-v", "-o", "/dev/null", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        names = re.findall(r"\.entry (\w+)", source.read_text())
        return [Kernel(name, message=done.stderr[-500:]) for name in names or [source.name]]
    return [
        Kernel(
            name=part.split("'")[1],
            registers=sum_of(r"Used (\d+) registers", part),
            spilled=sum_of(r"(\d+) bytes spill stores", part),
            shared=sum_of(r"(\d+) bytes smem", part),
        )
        for part in done.stderr.split("Compiling entry function ")[1:]
    ]


def difference(folder: Path, steps: int) -> dict:
    """What the longer of two runs called a step, and what it allocated in all. Processes that
    computed nothing, as a plan's, called less than either."""
    found = [json.loads(file.read_text()) for file in folder.glob("*-calls.json")]
    found.sort(key=lambda each: sum(calls for calls, _ in each["calls"].values()))
    short, long = found[-2:]
    calls = {
        name: [
            (now - before) / steps for now, before in zip(counts, short["calls"].get(name, [0, 0]))
        ]
        for name, counts in long["calls"].items()
    }
    return {
        "loading_bytes": long["most_while_loading"] or None,
        "allocated_bytes": sum(long["allocations_at_peak"]),
        "allocations": long["allocations_at_peak"],
        "calls_a_step": calls,
        "calls": long["calls"],
    }


def measure(options: argparse.Namespace, row: str, model: Model) -> dict:
    """One row of check.sh's stage `fast`, in two runs: of a few steps, and of all."""
    out = options.out / "calls" / row
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.environ["NULL_DRIVER_OUT"] = str(out)
    found = {"row": row}
    try:
        if row.endswith("-eval"):
            model = replace(model, eval_batches=QUESTIONS // model.eval_batch)
            found |= evaluate_plw(options, model, options.limit)
            steps = model.eval_batches - model.skipped
        else:
            settings = fast.SETTINGS[model.name][0]
            if row.endswith("-recomputed"):
                settings = fast.RECOMPUTED_PLW
            elif row == "7b-shared":
                settings = fast.LARGE_SHARED_PLW
            setting, parts, flags = settings[0]
            shares = row.endswith("-shared")
            for each in (replace(model, steps=model.skipped + 1), model):
                found |= train_plw(options, each, shares, setting, options.limit, parts, flags)
            found["step_seconds"] = min(found["steps"][model.skipped :])
            steps = model.steps - model.skipped - 1
        found |= difference(out, steps)
    except Failure as failure:
        found["message"] = str(failure)
    return found | {"load": os.getloadavg()[0]}


def kernels_of(out: Path, ptxas: Path, rows: list[dict]) -> list[Kernel]:
    """Every kernel of the runs once, assembled, with the shared memory of the row that it is of."""
    seen: set[bytes] = set()
    found = []
    for row in rows:
        files = sorted((out / "calls" / row["row"]).glob("*.ptx"))
        new = {text: file for file in files if (text := file.read_bytes()) not in seen}
        seen |= new.keys()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            modules = pool.map(partial(assemble, ptxas), new.values())
            kernels = [kernel for module in modules for kernel in module]
        for kernel in kernels:
            calls, shared = row.get("calls", {}).get(kernel.name, [0, 0])
            kernel.shared += shared // max(calls, 1)
        found += kernels
    return found


def describe(rows: list[dict], kernels: list[Kernel]) -> str:
    columns = ["first step s", "host ms a step", "kernels", "products", "copies up", "MB"]
    columns += ["copies down", "MB", "waits", "planned GB", "loading GB"]
    columns += ["reserved GB", "allocated GB"]
    columns.append("load of the machine")
    lines = [f"| work | {' | '.join(columns)} |", "| --- " + "| ---: " * len(columns) + "|"]

    def shown(value: float | None, unit: float = 1) -> str:
        return "-" if value is None else f"{value / unit:.4g}"

    for row in rows:
        if "calls_a_step" not in row:
            continue
        calls = row["calls_a_step"]
        ours = [name for name in calls if not name.startswith(("cu", "copies"))]
        waits = [name for name in calls if name.endswith("Synchronize")]
        started, waited = (sum(calls[name][0] for name in names) for names in (ours, waits))
        up, up_bytes = calls["copies from the host"]
        down, down_bytes = calls["copies to the host"]
        cells = [
            shown(row.get("steps", [None])[0]),
            shown(row.get("step_seconds"), 1e-3),
            shown(started),
            shown(calls.get("cublasLtMatmul", [0])[0]),
            shown(up),
            shown(up_bytes, 1e6),
            shown(down),
            shown(down_bytes, 1e6),
            shown(waited),
            *(
                shown(row.get(f"{name}_bytes"), 1e9)
                for name in ("planned", "loading", "reserved", "allocated")
            ),
            f"{row['load']:.1f}",
        ]
        lines.append(f"| {row['row']} | {' | '.join(cells)} |")
    lines += [f"\n{row['row']}: {row['message']}" for row in rows if "message" in row]
    lines.append(
        f"\n{len(kernels)} kernels. Those that spill, do not assemble, or take over 128 registers "
        "or 48 KiB of shared memory:\n"
    )
    lines += [
        "| kernel | registers | bytes spilled | shared memory |",
        "| --- | ---: | ---: | ---: |",
    ]
    for kernel in sorted(kernels, key=lambda kernel: -kernel.registers):
        if kernel.message or kernel.spilled or kernel.registers > 128 or kernel.shared > 48 << 10:
            lines.append(
                f"| {kernel.name} {kernel.message} | {kernel.registers} | {kernel.spilled} | "
                f"{kernel.shared} |"
            )
    return "\n".join(lines)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=Path, default=Path(".device"))
    parser.add_argument("--work", type=Path, default=Path("/tmp/plw-dry-run"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--rows", type=fast.parse_rows, default="small,7b")
    parser.add_argument("--limit", type=float, default=600, help="seconds of one row")
    options = parser.parse_args()
    options.files, options.out = options.files.resolve(), options.out.resolve()
    options.device, options.quick = "cuda", False
    options.data = options.files / "rows.parquet"
    options.models = options.work / "models"
    options.budget = Budget(1e6)
    return options


def main() -> None:
    options = parse_options()
    options.work.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    nvidia = toolkit()
    driver = build_driver(options.work / "driver")
    options.plw = unpack(options)
    os.environ |= {
        "CUDA_PATH": str(nvidia),
        "LD_LIBRARY_PATH": f"{driver}:{nvidia / 'lib'}",
        "LLVM_STUB": ":".join(str(stub) for stub in options.files.glob("*stub*.so")),
    }
    make(options.models / "small", options.files / "config.json", options.files / "tokenizer")
    make(options.models / "7b", options.files / "llama2-7b.json", options.files / "llama-tokenizer")
    found = []
    for model in fast.models(options):
        for row in (row for row in options.rows if fast.work_of(row) == model.name):
            found.append(measure(options, row, model))
            print(f"{row}: {found[-1].get('message', 'done')}", flush=True)
    kernels = kernels_of(options.out, nvidia / "bin/ptxas", found)
    record = {"rows": found, "kernels": [vars(kernel) for kernel in kernels]}
    (options.out / "dry-run.json").write_text(json.dumps(record, indent=1))
    print("\n" + describe(found, kernels))
    if any(kernel.message for kernel in kernels) or any("message" in row for row in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
