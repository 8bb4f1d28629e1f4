"""Prints the tables of results/scaling.md: the time of a step on many GPUs, computed from the time
on one, which was measured, and from the bytes that a step sends.

    python3 experiments/parallel/scaling.py
"""

import json
from pathlib import Path

MEASURED = json.loads((Path(__file__).parents[2] / "results/gpu.json").read_text())["speed"]["rows"]
# Seconds of plw's step on one H100, nothing shared.
STEPS = {row["work"]: row["step_seconds"] for row in MEASURED
         if row["side"] == "plw" and "step_seconds" in row}
WORKS = {
    # SmolLM2-135M: 134.5 M parameters in f32. The embedding table (49152 x 576) is sent last.
    "135M, full": {"seconds": STEPS["small"], "parameters": 134_515_008,
                   "last": 49_152 * 576 + 3_540_096,
                   # Operations a parameter and token: what recomputation adds (a layer without
                   # its down projection), and those without it.
                   "recomputed": 2 * 0.75, "whole": 6},
    # Llama-2-7B: rank 64 on the seven linear layers of 32 layers. A layer is sent last.
    "7B, LoRA r=64": {
        "seconds": STEPS["7b"],
        "parameters": 32 * 64 * (4 * (4096 + 4096) + 3 * (4096 + 11008)),
        "last": 64 * (4 * (4096 + 4096) + 3 * (4096 + 11008)),
        # The base is frozen: no gradients of its weights.
        "recomputed": 2 * 0.78, "whole": 4,
    },
}
GIGABITS = (25, 100, 400)
# Share of a link's nominal rate that a large message gets.
RATE = 0.8
def sent(parameters, processes):
    """Bytes that a process sends in a step: a shard to each, and its sum to each."""
    return 2 * (processes - 1) / processes * 4 * parameters


def seconds(size, gigabits, processes_on_link=1):
    """Time of so many bytes of each process through a link that several share."""
    return size * processes_on_link / (gigabits * 1e9 / 8 * RATE)


def recomputed(work, micro_batches, communication):
    """Seconds of a recomputed step's work, and of the step. Gradients appear after the forward pass
    of the last micro-batch. What is not hidden is the last stage, and what exceeds that time."""
    again, whole = work["recomputed"], work["whole"]
    part = work["seconds"] * (whole + again) / whole
    compute = micro_batches * part
    # The backward pass, and what it computes again.
    window = part * (whole + again - 2) / (whole + again)
    last = communication * work["last"] / work["parameters"]
    return compute, compute + max(0.0, communication - last - window) + last


def row(cells):
    print("| " + " | ".join(cells) + " |")


def table(title, processes, on_link, crossing, micro_batches):
    """`crossing`: the share of a process's bytes that goes through its machine's link."""
    print(f"\n{title}\n")
    row(["work", "sent by each", "Gbit/s", "sums", "efficiency", "recomputed: efficiency"])
    row(["---", "---:", "---:", "---:", "---:", "---:"])
    for name, work in WORKS.items():
        size = sent(work["parameters"], processes)
        for gigabits in GIGABITS:
            communication = seconds(size * crossing, gigabits, on_link)
            plain = micro_batches * work["seconds"]
            compute, whole = recomputed(work, micro_batches, communication)
            row([
                name,
                f"{size / 1e6:,.0f} MB",
                str(gigabits),
                f"{1e3 * communication:,.0f} ms",
                f"{100 * plain / (plain + communication):.0f} %",
                f"{100 * compute / whole:.0f} %",
            ])


table("8 GPUs, a link each, one measured step of work for each:", 8, 1, 1.0, 1)
table("8 GPUs, a link each, four times the work:", 8, 1, 1.0, 4)
# Of 63 other processes 56 are on other machines.
table("8 nodes of 8 GPUs, a link for each node, four times the work:", 64, 8, 56 / 63, 4)
