"""How plw and its peer are called for the same work, and which figures their records hold."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from command import Failure, run
from measurements import Figures

PEAK_PROGRAM = """
import json, sys, torch
size, device = int(sys.argv[1]), sys.argv[2]
a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
for _ in range(5):
    a @ b
if device == "cpu":
    print(json.dumps({}))
    sys.exit()
times = []
for _ in range(30):
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record(); a @ b; last.record()
    torch.cuda.synchronize()
    times.append(first.elapsed_time(last) / 1e3)
tflops = round(2 * size**3 / sorted(times)[15] / 1e12, 1)
print(json.dumps({"tflops": tflops, "torch": torch.__version__}))
"""


@dataclass(frozen=True)
class Model:
    """A model of random weights, and how much of its work is measured."""

    name: str
    folder: Path
    # Questions (or packs) of an optimizer step, steps, and those of them that are not timed.
    batch: int
    steps: int
    skipped: int
    # Questions of an evaluation's batch, and batches of an evaluation.
    eval_batch: int
    eval_batches: int
    # Longer questions are left out, and as many more are read.
    max_length: int = 2048
    # Whether questions are packed to that length.
    is_packed: bool = False
    # What both verbs of plw are given, and what training is.
    plw_flags: tuple = ()
    plw_training: tuple = ()
    peer_training: tuple = ()

    @property
    def rows(self) -> int:
        """Rows of the data for all steps. More than half of RACE has at most 512 tokens; a pack of
        2048 holds about four questions."""
        rows = self.batch * self.steps
        if self.max_length < 2048:
            return 3 * rows
        return 5 * rows if self.is_packed else rows


def of_steps(steps: list[dict], skipped: int) -> Figures:
    """Medians over the steps that are timed; what each step took, for whoever asks why."""
    timed = steps[skipped:] or steps[1:]
    if not timed:
        raise Failure(f"{len(steps)} steps, none of which is timed")
    return {
        "tokens_per_second": statistics.median(s["tokens"] / s["seconds"] for s in timed),
        "questions_per_second": statistics.median(s["questions"] / s["seconds"] for s in timed),
        "step_seconds": statistics.median(s["seconds"] for s in timed),
        "steps": [round(s["seconds"], 5) for s in steps],
        "tokens": [s["tokens"] for s in steps],
        "tokens_computed": [s.get("tokens_computed", s["tokens"]) for s in steps],
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
    }


def lines_of(text: str) -> list[dict]:
    """The complete JSON lines of a text; a program that was ended leaves half a line."""
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def log_of(options: argparse.Namespace, name: str) -> Path:
    return options.work / "logs" / f"{name.replace(' ', '-').replace(',', '')}.log"


def gemm_peak(options: argparse.Namespace) -> Figures:
    size = 512 if options.quick else 8192
    command = [sys.executable, "-c", PEAK_PROGRAM, size, options.device]
    return json.loads(run(command, log_of(options, "gemm"), 90, options.budget).text)


def init(
    options: argparse.Namespace, model: Model, config: Path, tokenizer: Path, device: str
) -> Figures:
    """Random weights in bf16, with a tokenizer beside them."""
    shutil.rmtree(model.folder, ignore_errors=True)
    command = [
        sys.executable, options.peer / "peer_gpu.py", "init", "--precision", "bf16",
        "--device", device, "--init-config", config, "--out", model.folder,
    ]  # fmt: skip
    run(command, log_of(options, f"init-{model.name}-{device}"), 120, options.budget)
    shutil.copytree(tokenizer, model.folder, dirs_exist_ok=True)
    return {}


def plw_flags(options: argparse.Namespace, model: Model) -> list:
    return [
        "--device", options.device, "--model", model.folder, "--bf16", "true",
        "--max-length", model.max_length, *model.plw_flags,
    ]  # fmt: skip


def plw_batches(options: argparse.Namespace, model: Model, micro_batches: int) -> list:
    """Steps of the rows in file order, as the peer takes them."""
    return [
        "--train-data", options.data, "--limit", model.rows, "--max-steps", model.steps,
        "--per-device-train-batch-size", max(1, model.batch // micro_batches),
        "--gradient-accumulation-steps", micro_batches, "--shuffle", "false",
        "--packing", "shortest-pack-first" if model.is_packed else "none",
    ]  # fmt: skip


def planned_bytes(options: argparse.Namespace, flags: list, log: Path) -> int | None:
    """What plw predicts that a run needs; a prediction that fails costs nothing else."""
    try:
        found = run([options.plw, "plan", "--json", *flags], log, 20, options.budget)
        plan = lines_of(found.text)[-1]
        return plan.get("gpu", plan)["peak"]
    except (Failure, LookupError):
        return None


def train_plw(
    options: argparse.Namespace,
    model: Model,
    shares: bool,
    setting: str,
    limit: float,
    micro_batches: int,
    more: tuple,
) -> Figures:
    name = f"plw-{model.name}-{'shared' if shares else 'alone'}-{setting}"
    folder = options.work / "runs" / log_of(options, name).stem
    shutil.rmtree(folder, ignore_errors=True)
    flags = [
        *plw_flags(options, model), *plw_batches(options, model, micro_batches),
        "--share-prefixes", str(shares).lower(),
        "--prompt-loss-weight", "0.1", "--learning-rate", "2e-4", "--weight-decay", "0.001",
        "--max-grad-norm", "0.3", "--save-steps", 0, "--save-only-model",
        *model.plw_training, *more,
    ]  # fmt: skip
    command = [options.plw, "train", "--output-dir", folder, *flags]
    began = time.monotonic()
    rows = folder / "metrics.jsonl"
    try:
        done = run(command, log_of(options, name), limit, options.budget)
        note = {"host_bytes": done.peak_bytes}
    except Failure as failure:
        # The steps until then count, if there are enough.
        steps = lines_of(rows.read_text()) if rows.exists() else []
        if len(steps) < model.skipped + 2:
            raise
        note = {"message": str(failure)}
    steps = lines_of(rows.read_text())
    others = time.monotonic() - began - sum(step["seconds"] for step in steps)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    planned = planned_bytes(options, flags, log_of(options, f"{name}-plan"))
    figures = {"start_seconds": others, "planned_bytes": planned}
    summary = folder / "summary.json"
    if summary.exists():
        figures["reserved_bytes"] = json.loads(summary.read_text()).get("device_memory_bytes")
    return of_steps(steps, model.skipped) | figures | note


def peer_command(options: argparse.Namespace, model: Model, verb: str, flags: tuple) -> list:
    return [
        sys.executable, options.peer / "peer_gpu.py", verb, "--model", model.folder,
        "--data", options.data, "--device", options.device, *flags,
    ]  # fmt: skip


def peer_name(model: Model, verb: str, setting: str) -> str:
    """Of its log and of the folder of what it compiled: a warm-up's is that of the run after it."""
    return f"peer-{model.name}-{'eval-' if verb == 'eval' else ''}{setting}"


def run_peer(
    options: argparse.Namespace, command: list, name: str, limit: float, **environment: str
) -> list[dict]:
    """Its lines. A compilation that is ended leaves broken files, so each has its own folder."""
    compiled = options.work / "compiled" / log_of(options, name).stem
    try:
        found = run(
            command,
            log_of(options, name),
            limit,
            options.budget,
            TORCHINDUCTOR_CACHE_DIR=str(compiled),
            **environment,
        )
    except Failure:
        shutil.rmtree(compiled, ignore_errors=True)
        raise
    return lines_of(found.text)


def warm_up_peer(
    options: argparse.Namespace, model: Model, verb: str, setting: str, flags: tuple
) -> Figures:
    """Compiles what a setting needs, on few rows; its run then finds it compiled."""
    training = ("--steps", 3, "--plw", "0.1", *model.peer_training)
    more = training if verb == "train" else ("--precision", "bf16")
    command = peer_command(options, model, verb, (*more, *flags))
    # The longest row of all is compiled in.
    rows = model.rows if verb == "train" else model.eval_batch * model.eval_batches
    command += ["--batch", 4, "--skip", 1, "--limit", rows, "--max-len", model.max_length]
    name = peer_name(model, verb, setting)
    run_peer(options, command, name, 150, TORCH_LOGS="recompiles")
    return {}


def train_peer(
    options: argparse.Namespace, model: Model, setting: str, limit: float, flags: tuple
) -> Figures:
    command = peer_command(options, model, "train", (*model.peer_training, *flags))
    command += [
        "--batch", model.batch, "--steps", model.steps, "--skip", model.skipped,
        "--limit", model.rows, "--max-len", model.max_length, "--plw", "0.1",
        *(["--pack", model.max_length] if model.is_packed else []),
    ]  # fmt: skip
    began = time.monotonic()
    *steps, summary = run_peer(options, command, peer_name(model, "train", setting), limit)
    others = time.monotonic() - began - sum(step["seconds"] for step in steps)
    return of_steps(steps, model.skipped) | {
        "start_seconds": others,
        "tensor_bytes": summary["peak_memory_bytes"],
        "torch": summary["torch"],
        "transformers": summary["transformers"],
    }


def evaluate_plw(options: argparse.Namespace, model: Model, limit: float) -> Figures:
    """Two evaluations; the longer one's further questions are timed, without its start."""
    found = []
    for batches in (model.skipped, model.eval_batches):
        name = f"plw-{model.name}-eval-{batches}"
        folder = options.work / "runs" / name
        shutil.rmtree(folder, ignore_errors=True)
        command = [
            options.plw, "eval", "--output-dir", folder, *plw_flags(options, model),
            "--data", options.data, "--limit", batches * model.eval_batch,
            "--per-device-eval-batch-size", model.eval_batch, "--dtype", "bfloat16",
        ]  # fmt: skip
        began = time.monotonic()
        done = run(command, log_of(options, name), limit, options.budget)
        row = {"wall": time.monotonic() - began, "host_bytes": done.peak_bytes}
        found.append(json.loads((folder / "summary.json").read_text()) | row)
    short, long = found
    seconds = long["seconds"] - short["seconds"]
    if seconds <= 0:
        raise Failure(f"{long['seconds']} s for the longer evaluation, {short['seconds']} s")
    return {
        "tokens_per_second": (long["tokens"] - short["tokens"]) / seconds,
        "questions_per_second": (long["questions"] - short["questions"]) / seconds,
        "questions_per_second_whole": long["questions_per_second"],
        "start_seconds": long["wall"] - long["seconds"],
        "host_bytes": long["host_bytes"],
        "accuracy": long["accuracy"],
        "tokens": long["tokens"],
        "tokens_computed": long["tokens_computed"],
    }


def evaluate_peer(
    options: argparse.Namespace, model: Model, setting: str, limit: float, flags: tuple
) -> Figures:
    precision = ("--precision", "bf16")
    command = peer_command(options, model, "eval", (*precision, *flags))
    command += [
        "--batch", model.eval_batch, "--limit", model.eval_batch * model.eval_batches,
        "--skip", model.skipped,
    ]  # fmt: skip
    summary = run_peer(options, command, peer_name(model, "eval", setting), limit)[-1]
    return {
        "tokens_per_second": summary["tokens_per_second"],
        "questions_per_second": summary["questions_per_second"],
        "tensor_bytes": summary["peak_memory_bytes"],
        "accuracy": summary["accuracy"],
    }
