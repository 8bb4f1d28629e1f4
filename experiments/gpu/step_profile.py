"""Where does a step's time go on the GPU? The stage `profile` of check.sh.

Runs ten steps of the small model (SmolLM2-135M's shape, all weights, bf16, about 32 000 tokens)
or, with --model 7b, of Llama-2-7B's shape (LoRA) under trace_kernels.so and prints a table of
kernels; or, given --trace, that of an earlier trace.
A step is the time from one clipping of the gradients to the next, which each step does once.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from command import Budget, run
from fast import choose_space, make, models
from measurements import Measurements
from sides import plw_batches, plw_flags

STEPS = 10
# The first and the last of the steps in the table: the earlier ones still compile kernels.
FIRST, LAST = 4, 9
MARKER = "limit_kernel"
# The first pattern that a name has decides. cuBLASLt clears its workspace with memset.
GROUPS = [
    ("matrix products (cuBLASLt)", r"nvjet|cublas|gemm|cutlass|^memset|matmul"),
    ("attention", r"^attention_|grad_query|grad_key_value|output_products"),
    ("RMSNorm", r"^RMSNorm|^sum_rows_kernel"),
    ("SwiGLU", r"^SwiGLU"),
    ("cross-entropy, without its products", r"^row_losses|^weighted_sum|^scale_kernel"),
    ("RoPE", r"^rotate_kernel"),
    ("AdamW and gradient norm", r"^update_kernel|^squares_kernel|^limit_kernel"),
    ("tensors of one number", r"^slice_assign_kernel_e_f32_n_1|^full_kernel_c_f32_n_1"),
    ("casts", r"^cast_"),
    ("embedding", r"^embedding"),
    ("Burn's select_assign", r"^select_assign"),
    ("copies from and to the host", r"^memcpy [12]"),
    ("everything else", r"."),
]


@dataclass(frozen=True)
class Launch:
    name: str
    start: int
    end: int


def read_trace(path: Path) -> list[Launch]:
    """In the order of their starts. A program that was ended leaves half a line."""
    rows = [line.split("\t") for line in path.read_text(errors="replace").splitlines()]
    found = [Launch(row[0], int(row[1]), int(row[2])) for row in rows if len(row) == 4]
    return sorted(found, key=lambda launch: launch.start)


def kernel_names(launches: list[Launch]) -> dict[str, str]:
    """What kernels of several operations that have one name are: a step normalizes most often,
    then gates, then looks rows up."""
    names = {}
    for prefix in ("forward_kernel", "backward_kernel"):
        counts = Counter(x.name for x in launches if x.name.startswith(prefix))
        kinds = dict(enumerate(["RMSNorm", "SwiGLU"]))
        for place, (name, _) in enumerate(counts.most_common()):
            names[name] = f"{kinds.get(place, 'embedding')}, {name}"
    return names


def steps_of(launches: list[Launch], first: int, last: int) -> list[Launch]:
    marks = [place for place, x in enumerate(launches) if x.name.startswith(MARKER)]
    if len(marks) < last:
        raise SystemExit(f"the trace has {len(marks)} steps, not {last}")
    return launches[marks[first - 2] : marks[last - 1]]


def busy_ns(launches: list[Launch]) -> int:
    """Time in which something runs. Streams may overlap."""
    total = end = 0
    for launch in launches:
        total += max(0, launch.end - max(launch.start, end))
        end = max(end, launch.end)
    return total


def profile(launches: list[Launch], first: int = FIRST, last: int = LAST) -> dict:
    """Milliseconds and launches of a step, on average."""
    names = kernel_names(launches)
    chosen = steps_of(launches, first, last)
    steps = last - first + 1
    nanoseconds: dict[str, int] = defaultdict(int)
    counts: Counter[str] = Counter()
    kernels: Counter[str] = Counter()
    for launch in chosen:
        name = names.get(launch.name, launch.name)
        group = next(group for group, pattern in GROUPS if re.search(pattern, name))
        nanoseconds[group] += launch.end - launch.start
        counts[group] += 1
        kernels[re.sub(r"^(memcpy \d).*", r"\1", name)] += launch.end - launch.start
    milliseconds = 1e6 * steps
    return {
        "steps": [first, last],
        "span_ms": (chosen[-1].end - chosen[0].start) / milliseconds,
        "busy_ms": busy_ns(chosen) / milliseconds,
        "launches": len(chosen) / steps,
        "groups": [
            {"group": group, "ms": nanoseconds[group] / milliseconds, "launches": n / steps}
            for group, _ in GROUPS
            if (n := counts[group])
        ],
        "kernels_ms": {name: ns / milliseconds for name, ns in kernels.most_common(40)},
    }


def table(found: dict) -> str:
    span, busy = found["span_ms"], found["busy_ms"]
    lines = ["| | ms a step | % of the busy time | launches |", "| --- | ---: | ---: | ---: |"]
    for row in found["groups"]:
        share = 100 * row["ms"] / busy
        lines.append(f"| {row['group']} | {row['ms']:.2f} | {share:.1f} | {row['launches']:,.0f} |")
    lines.append(f"| busy | {busy:.2f} | 100.0 | {found['launches']:,.0f} |")
    lines.append(f"| nothing runs | {span - busy:.2f} | | |")
    return "\n".join(lines)


def trace(options: argparse.Namespace) -> Path:
    """Ten steps, traced. The weights are random, and kept for the next call."""
    options.keep_models, options.quick = True, False
    # Those of stage `fast`, where it has made them.
    options.models = options.work.parent / "fast" / "models"
    choose_space(options)
    model = next(model for model in models(options) if model.name == options.model)
    model = replace(model, steps=STEPS)
    found = Measurements(options.out / "profile-models.json", options.budget)
    if not make(options, found, model):
        raise SystemExit(f"no model: {found.rows[-1]['message']}")
    folder, kernels = options.work / "run", options.out / f"kernels-{options.model}.tsv"
    parts = 2 if options.model == "7b" else 1
    shutil.rmtree(folder, ignore_errors=True)
    command = [
        options.plw, "train", "--output-dir", folder, *plw_flags(options, model),
        *plw_batches(options, model, parts), "--share-prefixes", options.share_prefixes,
        "--prompt-loss-weight", "0.1", "--learning-rate", "2e-4", "--max-grad-norm", "0.3",
        "--save-steps", 0, "--save-only-model", *model.plw_training,
    ]  # fmt: skip
    run(
        command,
        options.work / "profile.log",
        90,
        options.budget,
        CUDA_INJECTION64_PATH=str(options.tracer),
        TRACE_KERNELS=str(kernels),
    )
    return kernels


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trace", type=Path, help="only the table of this trace")
    parser.add_argument("--steps", type=int, nargs=2, default=(FIRST, LAST), metavar="STEP")
    parser.add_argument("--plw", type=Path)
    parser.add_argument("--peer", type=Path, help="the folder experiments/peer, for the weights")
    parser.add_argument("--files", type=Path, help="what prepare.sh left")
    parser.add_argument("--tracer", type=Path, help="trace_kernels.so")
    parser.add_argument("--work", type=Path, help="folder for runs and logs")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the results")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="small", choices=["small", "7b"])
    parser.add_argument("--share-prefixes", default="false", choices=["true", "false"])
    parser.add_argument("--seconds", type=float, default=200, help="the time of everything")
    options = parser.parse_args()
    if options.files:
        options.data = options.files / "rows.parquet"
    options.budget = Budget(options.seconds)
    return options


def main() -> None:
    options = parse_options()
    found = profile(read_trace(options.trace or trace(options)), *options.steps)
    (options.out / f"profile-{options.model}.json").write_text(json.dumps(found, indent=1))
    print(table(found))


if __name__ == "__main__":
    main()
