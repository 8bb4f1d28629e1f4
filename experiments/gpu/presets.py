"""Do the presets of the article's model run on this GPU? The stage `presets` of check.sh.

Runs race-llama2-7b and race-llama2-7b-qlora as `cargo xtask reproduce` does (plan, sweep, report),
all of their settings but the length: one prompt loss weight, one seed, a few steps, an evaluation
and a checkpoint every few of them. The weights are random, the questions RACE's. Prints a table
last.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from pathlib import Path

from command import Budget, Failure, run
from fast import choose_space, make, models
from measurements import Measurements
from sides import Figures, lines_of, log_of

PRESETS = ["race-llama2-7b", "race-llama2-7b-qlora"]
STEPS, SKIPPED = 8, 3
# Of the preset's settings those that say how long it takes.
SHORTER = {
    "PLW_MAX_STEPS": STEPS,
    "PLW_EVAL_STEPS": STEPS // 2,
    "PLW_SAVE_STEPS": STEPS // 2,
    "PLW_LIMIT": 600,
    "PLW_EVAL_LIMIT": 64,
}


def measure(options: argparse.Namespace, name: str, model: Path) -> Figures:
    """A preset's plan, its run of weight 0.1 and seed 1, and the report of it."""
    preset = Path(__file__).parents[1] / f"{name}.toml"
    folder = options.work / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    variables = {name: str(value) for name, value in SHORTER.items()} | {
        "PLW_DEVICE": options.device,
        "PLW_MODEL": str(model),
        "PLW_TRAIN_DATA": str(options.data),
        "PLW_EVAL_DATA": str(options.data),
    }
    log = log_of(options, name)

    def call(verb: str, *flags: object) -> str:
        command = [options.plw, verb, *flags]
        log_of_verb = log.with_stem(f"{log.stem}-{verb}")
        return run(command, log_of_verb, options.limit, options.budget, **variables).text

    plan = lines_of(call("plan", "--config", preset, "--json"))[-1]
    call(
        "sweep", "--config", preset, "--output-dir", folder,
        "--prompt-loss-weight", "0.1", "--seeds", 1,
    )  # fmt: skip
    call("report", folder)
    found = sorted(folder.rglob("metrics.jsonl"))
    if len(found) != 1:
        raise Failure(f"{len(found)} runs in {folder}")
    steps = lines_of(found[0].read_text())
    summary = json.loads((found[0].parent / "summary.json").read_text())
    timed = steps[SKIPPED:]
    return {
        "tokens_per_second": statistics.median(s["tokens"] / s["seconds"] for s in timed),
        "step_seconds": statistics.median(s["seconds"] for s in timed),
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
        "planned_bytes": plan.get("gpu", plan)["peak"],
        "reserved_bytes": summary.get("device_memory_bytes"),
        "summary": summary,
    }


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plw", type=Path, required=True)
    parser.add_argument("--peer", type=Path, help="the folder experiments/peer, for the weights")
    parser.add_argument("--files", type=Path, required=True, help="what prepare.sh left")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and logs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--limit", type=float, default=90, help="seconds of one command")
    parser.add_argument("--seconds", type=float, default=280, help="the time of everything")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS)
    options = parser.parse_args()
    options.keep_models, options.quick = True, False
    options.data = options.files / "rows.parquet"
    options.budget = Budget(options.seconds)
    # The weights of stage `fast`, where it has made them.
    options.models = options.work.parent / "fast" / "models"
    return options


def table(rows: list[dict]) -> str:
    columns = ["tokens_per_second", "step_seconds", "first_loss", "last_loss"]
    memory = ["planned_bytes", "reserved_bytes", "memory_bytes"]
    lines = [
        "| preset | tokens/s | step, s | first loss | last loss | planned, GB | held, GB | "
        "card, GB | s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = [f"{row[name]:,.4g}" if row.get(name) else "-" for name in columns]
        cells += [f"{row[name] / 1e9:.1f}" if row.get(name) else "-" for name in memory]
        lines.append(f"| {row['setting']} | {' | '.join(cells)} | {row['seconds']:.0f} |")
        if "message" in row:
            lines.append(f"\n{row['message'][-700:]}\n")
    return "\n".join(lines)


def main() -> None:
    options = parse_options()
    choose_space(options)
    found = Measurements(options.out / "presets.json", options.budget)
    model = next(model for model in models(options) if model.name == "7b")
    if make(options, found, model):
        for name in options.presets:
            found.take("preset", "plw", name, lambda: measure(options, name, model.folder))
    print(table(found.rows))
    if any(row["state"] != "ok" for row in found.rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
