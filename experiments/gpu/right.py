"""Is plw right on this GPU? The stage `right` of check.sh.

Runs the property tests of the kernels and the golden checkpoints on the device, then the same work
on the GPU by plw and by PyTorch in f32 (no TF32) and on the CPU by plw: five steps of full
fine-tuning and of LoRA from random weights, an evaluation, prefixes shared and not, and a run that
is killed and resumed; 20 steps in bf16, beside what bf16 does to PyTorch's losses; and the memory
of a thousand steps. All of it runs side by side. Prints a table and leaves it as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from command import Budget, end, run, start

STEPS = 5
BATCH = 4
# Of the losses in bf16, and of the run whose memory is watched.
BF16_STEPS, MANY_STEPS = 20, 1000
# The greatest differences, as parts of the value.
LOSS_BAR, NORM_BAR, LOGIT_BAR = 1e-4, 1e-3, 1e-3


class Checks:
    """What was compared, with its bar."""

    def __init__(self, out: Path) -> None:
        self.rows: list[dict] = []
        self.out = out
        self.lock = threading.Lock()

    def add(self, name: str, difference: float | None, bar: float | None, note: str = "") -> None:
        is_met = difference is not None and (bar is None or difference <= bar)
        row = {"check": name, "difference": difference, "bar": bar, "met": is_met, "note": note}
        with self.lock:
            self.rows.append(row)
            self.out.write_text(json.dumps(self.rows, indent=1))

    def table(self) -> str:
        lines = ["| check | difference | bar | met | note |", "| --- | ---: | ---: | --- | --- |"]
        for row in self.rows:
            difference, bar = (
                "-" if row[key] is None else f"{row[key]:.1e}" for key in ("difference", "bar")
            )
            met = "yes" if row["met"] else "NO"
            lines.append(f"| {row['check']} | {difference} | {bar} | {met} | {row['note']} |")
        return "\n".join(lines)


def plw_flags(
    options: argparse.Namespace, device: str, shares: bool, lora: Path | None, steps: int = STEPS
) -> list:
    flags = [
        options.plw, "train", "--device", device, "--model", options.model,
        "--train-data", options.data, "--max-length", "2048", "--prompt-loss-weight", "0.1",
        "--learning-rate", "2e-4", "--weight-decay", "0.001", "--max-grad-norm", "0.3",
        "--warmup-steps", "0", "--lr-scheduler-type", "constant_with_warmup",
        "--per-device-train-batch-size", BATCH, "--max-steps", steps, "--limit", BATCH * 25,
        "--packing", "none", "--shuffle", "false", "--share-prefixes", str(shares).lower(),
    ]  # fmt: skip
    if lora:
        flags += ["--init-adapter", lora]
    return flags


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def run_plw(options: argparse.Namespace, name: str, command: list) -> None:
    """Runs it on few threads, as several programs run at once."""
    threads = str(max(1, (os.cpu_count() or 1) // 3))
    log = options.work / f"{name}.log"
    run(command, log, 120, options.budget, RAYON_NUM_THREADS=threads)


def train_plw(
    options: argparse.Namespace,
    name: str,
    device: str,
    shares: bool = False,
    lora: Path | None = None,
    steps: int = STEPS,
    more: tuple = (),
) -> list[dict]:
    folder = options.work / name
    shutil.rmtree(folder, ignore_errors=True)
    flags = plw_flags(options, device, shares, lora, steps)
    run_plw(options, name, [*flags, *more, "--output-dir", folder])
    return metrics(folder)


def train_peer(
    options: argparse.Namespace,
    name: str,
    lora: Path | None = None,
    steps: int = STEPS,
    precision: str = "f32",
) -> list[dict]:
    command = [
        sys.executable, options.peer / "peer_gpu.py", "train", "--model", options.model,
        "--data", options.data, "--precision", precision, "--layout", "padded", "--rows", "all",
        "--batch", BATCH, "--plw", "0.1", "--steps", steps, "--skip", "0",
    ]  # fmt: skip
    if lora:
        command += ["--lora", "16,32", "--save-init", lora]
    found = run(command, options.work / f"{name}.log", 120, options.budget)
    lines = [json.loads(line) for line in found.text.splitlines()]
    return [line for line in lines if "summary" not in line]


def differences(found: list[dict], expected: list[dict], steps: int = STEPS) -> tuple[float, float]:
    """The greatest of losses and of gradient norms, as parts of the expected value."""
    if len(found) != steps or len(expected) != steps:
        raise RuntimeError(f"{len(found)} and {len(expected)} steps instead of {steps}")
    pairs = list(zip(found, expected))
    return tuple(
        max(abs(a[key] - b[key]) / abs(b[key]) for a, b in pairs) for key in ("loss", "grad_norm")
    )


def compare(checks: Checks, name: str, found: list[dict], expected: list[dict]) -> None:
    loss, norm = differences(found, expected)
    checks.add(f"{name}: losses", loss, LOSS_BAR, f"first {found[0]['loss']:.6f}")
    checks.add(f"{name}: gradient norms", norm, NORM_BAR, f"first {found[0]['grad_norm']:.4f}")


def check_training(
    options: argparse.Namespace, checks: Checks, name: str, lora: Path | None
) -> None:
    peer = train_peer(options, f"peer-{name}", lora)
    with ThreadPoolExecutor() as pool:
        on_gpu = pool.submit(train_plw, options, f"gpu-{name}", options.device, False, lora)
        sharing = pool.submit(train_plw, options, f"gpu-{name}-shared", options.device, True, lora)
        on_cpu = pool.submit(train_plw, options, f"cpu-{name}", "cpu", False, lora)
    gpu = on_gpu.result()
    compare(checks, f"{name}, plw on the GPU and PyTorch", gpu, peer)
    compare(checks, f"{name}, plw on the GPU and on the CPU", gpu, on_cpu.result())
    compare(checks, f"{name}, prefixes shared and not, on the GPU", sharing.result(), gpu)


def check_full(options: argparse.Namespace, checks: Checks) -> None:
    check_training(options, checks, "full", None)


def check_lora(options: argparse.Namespace, checks: Checks) -> None:
    check_training(options, checks, "lora", options.work / "adapter")


def evaluate_plw(options: argparse.Namespace, device: str) -> dict[str, list[float]]:
    import pyarrow.parquet

    folder = options.work / f"eval-{device.replace(':', '-')}"
    shutil.rmtree(folder, ignore_errors=True)
    command = [
        options.plw, "eval", "--device", device, "--model", options.model, "--data", options.data,
        "--limit", 40, "--output-dir", folder,
    ]  # fmt: skip
    run_plw(options, folder.name, command)
    rows = pyarrow.parquet.read_table(folder / "predictions.parquet").to_pylist()
    return {f"{number} {row['example_id']}": row["logits"] for number, row in enumerate(rows)}


def evaluate_peer(options: argparse.Namespace) -> dict[str, list[float]]:
    command = [
        sys.executable, options.peer / "peer_gpu.py", "eval", "--model", options.model,
        "--data", options.data, "--precision", "f32", "--layout", "padded", "--limit", "40",
        "--batch", "8",
    ]  # fmt: skip
    found = run(command, options.work / "eval-peer.log", 120, options.budget)
    lines = [json.loads(line) for line in found.text.splitlines()]
    rows = [line for line in lines if "summary" not in line]
    return {f"{number} {row['example_id']}": row["logits"] for number, row in enumerate(rows)}


def check_evaluation(options: argparse.Namespace, checks: Checks) -> None:
    with ThreadPoolExecutor() as pool:
        on_gpu = pool.submit(evaluate_plw, options, options.device)
        by_peer = pool.submit(evaluate_peer, options)
        on_cpu = pool.submit(evaluate_plw, options, "cpu")
    gpu = on_gpu.result()
    for name, other in [("PyTorch", by_peer.result()), ("plw on the CPU", on_cpu.result())]:
        if gpu.keys() != other.keys():
            raise RuntimeError(f"other questions than those of {name}")
        greatest = max(
            abs(a - b) for key, logits in gpu.items() for a, b in zip(logits, other[key])
        )
        checks.add(f"evaluation logits, the GPU and {name}", greatest, LOGIT_BAR)


def check_resume(options: argparse.Namespace, checks: Checks) -> None:
    """Kills a run after its first checkpoint and resumes it; a whole run has the same end."""
    whole = options.work / "whole"
    killed = options.work / "killed"
    flags = [*plw_flags(options, options.device, False, None), "--save-steps", 1]
    for folder in (whole, killed):
        shutil.rmtree(folder, ignore_errors=True)
    run([*flags, "--output-dir", whole], options.work / "whole.log", 120, options.budget)
    command = [*flags, "--output-dir", killed]
    process = start(command, options.work / "killed.out", options.work / "killed.log")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if (killed / "checkpoints" / "step-2").exists():
            break
        time.sleep(0.01)
    was_running = process.poll() is None
    end(process)
    command = [*flags, "--output-dir", killed, "--resume"]
    run(command, options.work / "resumed.log", 120, options.budget)
    loss, norm = differences(metrics(killed), metrics(whole))
    bits = "the same bits" if loss == norm == 0.0 else "not the same bits"
    bits += "" if was_running else "; it ended before the kill"
    checks.add("killed and resumed: losses", loss, LOSS_BAR, bits)
    checks.add("killed and resumed: gradient norms", norm, NORM_BAR, bits)


def check_bf16(options: argparse.Namespace, checks: Checks) -> None:
    """What bf16 does to plw's losses, beside what it does to PyTorch's."""
    bf16 = ("--bf16", "true")
    with ThreadPoolExecutor() as pool:
        plw = [
            pool.submit(train_plw, options, name, options.device, steps=BF16_STEPS, more=more)
            for name, more in (("gpu-20-f32", ()), ("gpu-20-bf16", bf16))
        ]
        peer = {
            precision: pool.submit(
                train_peer, options, f"peer-20-{precision}", None, BF16_STEPS, precision
            )
            for precision in ("f32", "autocast", "bf16")
        }
    plw_f32, plw_bf16 = (run.result() for run in plw)
    by_precision = {precision: run.result() for precision, run in peer.items()}
    exact = by_precision["f32"]
    own = differences(plw_f32, exact, BF16_STEPS)[0]
    checks.add("20 steps in f32, plw and PyTorch: losses", own, LOSS_BAR)
    autocast = differences(by_precision["autocast"], exact, BF16_STEPS)[0]
    whole = differences(by_precision["bf16"], exact, BF16_STEPS)[0]
    found = differences(plw_bf16, plw_f32, BF16_STEPS)[0]
    note = f"the bar is what PyTorch's autocast does; its bf16 weights: {whole:.1e}"
    checks.add("20 steps, plw's bf16 and f32: losses", found, autocast, note)


def used_bytes(process: int) -> int:
    """What a process holds of the card."""
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    for line in subprocess.run(query, capture_output=True, text=True).stdout.splitlines():
        pid, mebibytes = line.split(",")
        if int(pid) == process:
            return int(mebibytes) * 2**20
    return 0


def check_memory(options: argparse.Namespace, checks: Checks) -> None:
    """The memory of a thousand steps: what the second half takes beyond the first."""
    folder = options.work / "many"
    shutil.rmtree(folder, ignore_errors=True)
    flags = plw_flags(options, options.device, True, None, MANY_STEPS)
    more = ["--bf16", "true", "--save-steps", 0, "--save-only-model", "--output-dir", folder]
    command = [*flags, *more]
    process = start(command, options.work / "many.out", options.work / "many.log")
    halves = [0, 0]
    rows = folder / "metrics.jsonl"
    while process.poll() is None and options.budget.left() > 1:
        done = len(rows.read_text().splitlines()) if rows.exists() else 0
        half = int(done > MANY_STEPS // 2)
        halves[half] = max(halves[half], used_bytes(process.pid))
        time.sleep(0.5)
    end(process)
    done = len(rows.read_text().splitlines())
    note = f"{halves[0] / 1e9:.2f} and {halves[1] / 1e9:.2f} GB in {done} steps"
    growth = (halves[1] - halves[0]) / halves[0] if all(halves) else None
    checks.add("memory of the second half of 1000 steps, and of the first", growth, 0.01, note)


def check_tests(options: argparse.Namespace, checks: Checks, name: str, program: Path) -> None:
    """Runs a test program on the device; each of its tests is a row."""
    log = options.work / f"{name}.log"
    variables = {
        "PLW_TEST_DEVICE": options.device.split(":")[0],
        "PLW_TEST_CASES": str(options.cases),
        "CARGO_MANIFEST_DIR": str(options.package.resolve()),
    }
    try:
        run([program], log, options.seconds, options.budget, **variables)
    finally:
        output = log.with_suffix(".out")
        lines = output.read_text().splitlines() if output.exists() else []
        tests = [line for line in lines if line.startswith("test ") and " ... " in line]
        for line in tests:
            test, found = line.removeprefix("test ").rsplit(" ... ", 1)
            checks.add(f"{name} {test}", 0.0 if found == "ok" else None, None)
    if not tests:
        raise RuntimeError(f"no test of {program} ran")


def check_kernels(options: argparse.Namespace, checks: Checks) -> None:
    check_tests(options, checks, "kernel", options.tests)


def check_golden(options: argparse.Namespace, checks: Checks) -> None:
    check_tests(options, checks, "golden checkpoints:", options.golden)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plw", type=Path, required=True)
    parser.add_argument("--tests", type=Path, required=True, help="the program of tests/device")
    parser.add_argument("--golden", type=Path, required=True, help="that of plw-model's golden.rs")
    parser.add_argument("--package", type=Path, required=True, help="plw-model's folder")
    parser.add_argument("--peer", type=Path, required=True, help="the folder experiments/peer")
    parser.add_argument("--config", type=Path, required=True, help="config.json of the model")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of its tokenizer")
    parser.add_argument("--data", type=Path, required=True, help="parquet in RACE's columns")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and logs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=280, help="what is then undone is left")
    names = ["kernels", "golden", "full", "lora", "evaluation", "resume", "bf16", "memory"]
    parser.add_argument("--checks", nargs="+", choices=names, default=names, help="which of all")
    options = parser.parse_args()
    options.model = options.work / "model"
    options.budget = Budget(options.seconds)
    return options


def make_model(options: argparse.Namespace) -> None:
    command = [
        sys.executable, options.peer / "peer_gpu.py", "init", "--precision", "f32",
        "--init-config", options.config, "--out", options.model,
    ]  # fmt: skip
    run(command, options.work / "init.log", 90, options.budget)
    shutil.copytree(options.tokenizer, options.model, dirs_exist_ok=True)


def main() -> None:
    options = parse_options()
    options.work.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    checks = Checks(options.out / "right.json")
    make_model(options)
    checks_by_name = {
        "kernels": check_kernels,
        "golden": check_golden,
        "full": check_full,
        "lora": check_lora,
        "evaluation": check_evaluation,
        "resume": check_resume,
        "bf16": check_bf16,
        "memory": check_memory,
    }

    def run_check(name: str) -> None:
        began = time.monotonic()
        try:
            checks_by_name[name](options, checks)
        except Exception as error:  # One failure must not hide the other checks.
            checks.add(name, None, None, str(error).replace("\n", " ")[-600:])
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)

    with ThreadPoolExecutor() as pool:
        list(pool.map(run_check, options.checks))
    checks.rows.sort(key=lambda row: row["check"])
    logs = sorted(file for file in options.work.glob("*.*") if file.suffix in (".log", ".out"))
    whole = "".join(f"== {log.name}\n{log.read_text()[-4000:]}\n" for log in logs)
    (options.out / "logs.txt").write_text(whole)
    print(checks.table())
    sys.exit(0 if all(row["met"] for row in checks.rows) else 1)


if __name__ == "__main__":
    main()
