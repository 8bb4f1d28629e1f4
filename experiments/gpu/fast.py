"""How fast is plw on this GPU, beside PyTorch's best setting? The stage `fast` of check.sh.

Measures the product's peak, then training and evaluation of a small model (SmolLM2-135M's shape,
all weights) and of Llama-2-7B's shape (LoRA, and QLoRA), both from random weights, by plw and by
the peer on the same rows in the same order. Every measurement has a limit of its own and is kept in
gpu.json as soon as it ends; a failure is a row with its last words. Prints the tables last.

--prepare measures nothing: it makes the models and lets PyTorch compile the peer's layers, all at
once. A later call with --keep-models finds both.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from command import Budget
from measurements import Measurements, bars, table
from sides import (
    Model,
    evaluate_peer,
    evaluate_plw,
    gemm_peak,
    init,
    train_peer,
    train_plw,
    warm_up_peer,
)

WORKS = [
    "small", "small-shared", "small-eval",
    "7b", "7b-shared", "7b-recomputed", "7b-eval", "7b-qlora",
]  # fmt: skip
# The peer's settings, the most promising ones first, but before them one that starts at once: a
# short budget then has a figure too. Each has a limit in seconds, more where layers are compiled.
COMPILED, PLAIN = 80, 60
SMALL_PEER = [
    ("bf16 packed", PLAIN, ("--precision", "bf16")),
    ("bf16 packed compiled", COMPILED, ("--precision", "bf16", "--compile")),
    ("autocast packed compiled", COMPILED, ("--precision", "autocast", "--compile")),
    ("autocast packed", PLAIN, ("--precision", "autocast")),
    (
        "bf16 padded compiled",
        COMPILED,
        ("--precision", "bf16", "--layout", "padded", "--compile", "--multiple", "128"),
    ),
    ("bf16 padded", PLAIN, ("--precision", "bf16", "--layout", "padded")),
    (
        "bf16 packed compiled and rounded",
        COMPILED,
        ("--precision", "bf16", "--compile", "--multiple", "4096"),
    ),
]
LARGE_PEER = [
    ("bf16 packed in 4 parts", 80, ("--micro-batches", "4")),
    ("bf16 packed compiled in 4 parts", 100, ("--micro-batches", "4", "--compile")),
    ("bf16 packed checkpointing", 80, ("--checkpointing",)),
    ("bf16 packed compiled checkpointing", 150, ("--checkpointing", "--compile")),
    ("bf16 packed in 2 parts", 80, ("--micro-batches", "2")),
]
QLORA_PEER = [
    ("nf4 packed checkpointing", 100, ()),
    ("nf4 packed compiled checkpointing", 150, ("--compile",)),
]
EVAL_PEER = [("bf16 packed", PLAIN, ()), ("bf16 packed compiled", COMPILED, ("--compile",))]
# plw's settings, tried in turn until one does not fail: micro-batches of a step, and flags.
RECOMPUTED = ("--gradient-checkpointing", "true")
SMALL_PLW = [
    ("bf16", 1, ()),
    ("bf16 in 2 parts", 2, ()),
    ("bf16 in 4 parts", 4, ()),
]
QLORA_PLW = [("nf4, checkpointing", 1, RECOMPUTED)]
LARGE_PLW = [
    ("bf16 in 2 parts", 2, ()),
    ("bf16 in 4 parts", 4, ()),
    ("bf16 in 4 parts, checkpointing", 4, RECOMPUTED),
    ("bf16 in 16 parts, checkpointing", 16, RECOMPUTED),
]
# Shared prefixes take a third of the memory.
LARGE_SHARED_PLW = [("bf16", 1, ()), *LARGE_PLW]
RECOMPUTED_PLW = [("bf16, checkpointing", 1, RECOMPUTED), LARGE_PLW[2]]


# Of each model its config.json and its tokenizer's folder.
MODEL_FILES = {
    "small": ("config.json", "tokenizer"),
    "7b": ("llama2-7b.json", "llama-tokenizer"),
}


def models(options: argparse.Namespace) -> tuple[Model, ...]:
    """The models. A question of RACE has 485 tokens on average."""
    quick = options.quick
    small = Model(
        name="small",
        folder=options.models / "small",
        batch=4 if quick else 68,
        steps=3 if quick else 28,
        skipped=1 if quick else 5,
        eval_batch=4 if quick else 64,
        eval_batches=3 if quick else 30,
    )
    large = Model(
        name="7b",
        folder=options.models / "7b",
        batch=8,
        is_packed=True,
        steps=3 if quick else 9,
        skipped=1 if quick else 3,
        eval_batch=4 if quick else 32,
        eval_batches=3 if quick else 20,
        plw_flags=("--chat-template", "llama-2"),
        plw_training=("--lora-r", 64, "--lora-alpha", 64, "--dtype", "bfloat16"),
        peer_training=("--precision", "bf16", "--lora", "64,64"),
    )
    # Base weights of 4 bits, on the same weights: packs of 8 x 512.
    qlora = replace(
        large,
        name="7b-qlora",
        max_length=512,
        plw_training=("--lora-r", 64, "--lora-alpha", 64, "--dtype", "nf4"),
        peer_training=(
            "--precision", "bf16", "--lora", "64,64", "--nf4", "--checkpointing",
        ),
    )  # fmt: skip
    return small, large, qlora


def config_of(options: argparse.Namespace, name: str) -> Path:
    """A model's config.json; with --quick a tiny model's with the same vocabulary."""
    config = options.files / name
    if not options.quick:
        return config
    tiny = json.loads(config.read_text()) | {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    made = options.work / f"tiny-{name}"
    made.write_text(json.dumps(tiny))
    return made


def try_plw(
    options: argparse.Namespace,
    found: Measurements,
    model: Model,
    work: str,
    settings: list[tuple],
) -> None:
    """The first of the settings that works; one that was too slow is not made slower."""
    shares = work.endswith("-shared")
    limit = options.limit or (60 if model.name == "small" else 90)
    for setting, parts, flags in settings:
        measure = partial(train_plw, options, model, shares, setting, limit, parts, flags)
        if found.take(work, "plw", setting, measure):
            return
        row = found.rows[-1]
        if row["state"] == "not run" or row["message"].startswith("ended after"):
            return


def asked(options: argparse.Namespace, settings: list[tuple]) -> list[tuple]:
    """Those of the peer's settings that are asked for, in the order of --settings."""
    if options.settings:
        found = [each for each in settings if each[0] in options.settings]
        return sorted(found, key=lambda each: options.settings.index(each[0]))
    if options.quick:
        return [each for each in settings if not re.search("compiled|padded", each[0])]
    return settings


def search_peer(
    options: argparse.Namespace, found: Measurements, model: Model, settings: list[tuple]
) -> None:
    for setting, limit, flags in settings:
        limit = options.limit or limit
        measure = partial(train_peer, options, model, setting, limit, flags)
        found.take(model.name, "peer", setting, measure)


def evaluate(options: argparse.Namespace, found: Measurements, model: Model) -> None:
    work = f"{model.name}-eval"
    limit = options.limit or (60 if model.name == "small" else 90)
    found.take(work, "plw", "bf16 shared", partial(evaluate_plw, options, model, limit))
    for setting, limit, flags in asked(options, EVAL_PEER):
        limit = options.limit or limit
        measure = partial(evaluate_peer, options, model, setting, limit, flags)
        found.take(work, "peer", setting, measure)


def make(options: argparse.Namespace, found: Measurements, model: Model) -> bool:
    """Random weights, made on the card, or where that fails on the CPU."""
    name, tokenizer = MODEL_FILES[model.folder.name]
    made = [row for row in found.rows if row["work"] == f"{model.folder.name}-init"]
    if any(row["state"] == "ok" for row in made):
        return True
    if (model.folder / "config.json").exists() and options.keep_models:
        return True
    for device in dict.fromkeys([options.device, "cpu"]):
        config, folder = config_of(options, name), options.files / tokenizer
        measure = partial(init, options, model, config, folder, device)
        if found.take(f"{model.folder.name}-init", "peer", device, measure):
            return True
    return False


SETTINGS = {
    "small": (SMALL_PLW, SMALL_PEER),
    "7b": (LARGE_PLW, LARGE_PEER),
    "7b-qlora": (QLORA_PLW, QLORA_PEER),
}


def asked_models(options: argparse.Namespace) -> list[Model]:
    return [m for m in models(options) if any(work_of(row) == m.name for row in options.rows)]


def warm_ups(options: argparse.Namespace, model: Model) -> list[tuple[str, str, tuple]]:
    """Verb, setting and flags of all that PyTorch compiles for a model."""
    found = []
    if model.name in options.rows:
        found += [("train", *each) for each in asked(options, SETTINGS[model.name][1])]
    if f"{model.name}-eval" in options.rows:
        found += [("eval", *each) for each in asked(options, EVAL_PEER)]
    return [(verb, name, flags) for verb, name, _, flags in found if "compiled" in name]


def prepare_model(options: argparse.Namespace, found: Measurements, model: Model) -> None:
    """Makes it and, of as many layers as it takes to compile one, a small copy to compile with."""
    compiled = warm_ups(options, model)
    with ThreadPoolExecutor() as pool:
        # A model of which another has the weights is made once, by the other.
        if model.name == model.folder.name:
            pool.submit(make, options, found, model)
        name, tokenizer = MODEL_FILES[model.folder.name]
        shallow = replace(model, folder=options.models / f"{model.name}-shallow")
        config = json.loads(config_of(options, name).read_text()) | {"num_hidden_layers": 2}
        shallow_config = options.work / f"{model.name}-shallow.json"
        shallow_config.write_text(json.dumps(config))
        tokenizer = options.files / tokenizer
        measure = partial(init, options, shallow, shallow_config, tokenizer, options.device)
        if compiled and not found.take(f"{model.name}-shallow", "peer", "init", measure):
            return
        for verb, setting, flags in compiled:
            measure = partial(warm_up_peer, options, shallow, verb, setting, flags)
            pool.submit(found.take, f"{model.name}-{verb}-warm-up", "peer", setting, measure)


def prepare(options: argparse.Namespace, found: Measurements) -> None:
    with ThreadPoolExecutor() as pool:
        for model in asked_models(options):
            pool.submit(prepare_model, options, found, model)


def measure_all(options: argparse.Namespace, found: Measurements) -> None:
    rows, settings = options.rows, SETTINGS
    found.take("gemm", "peer", "bf16 product", partial(gemm_peak, options))
    made = [model for model in asked_models(options) if make(options, found, model)]
    # Both sides of every work first, then the peer's other settings.
    for model in made:
        plw, peer = settings[model.name]
        if model.name in rows:
            try_plw(options, found, model, model.name, plw)
            search_peer(options, found, model, asked(options, peer)[:1])
        shared = LARGE_SHARED_PLW if model.name == "7b" else plw
        for work, plw in (("shared", shared), ("recomputed", RECOMPUTED_PLW)):
            if f"{model.name}-{work}" in rows:
                try_plw(options, found, model, f"{model.name}-{work}", plw)
    for model in made:
        if f"{model.name}-eval" in rows:
            evaluate(options, found, model)
        if model.name in rows:
            search_peer(options, found, model, asked(options, settings[model.name][1])[1:])


def work_of(row: str) -> str:
    """The model whose work a row is."""
    for suffix in ("-shared", "-recomputed", "-eval"):
        row = row.removesuffix(suffix)
    return row


def parse_rows(text: str) -> list[str]:
    """Names of work; `small` and `7b` stand for all of theirs, `small-train` for the first."""
    rows: list[str] = []
    for name in text.split(","):
        if name in ("small", "7b"):
            rows += [work for work in WORKS if work.startswith(name)]
        elif name.removesuffix("-train") in WORKS:
            rows.append(name.removesuffix("-train"))
        else:
            known = ", ".join(["small-train", "7b-train", *WORKS])
            raise argparse.ArgumentTypeError(f"{name}: it must be one of {known}")
    return rows


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plw", type=Path, required=True)
    parser.add_argument("--peer", type=Path, required=True, help="the folder experiments/peer")
    parser.add_argument("--files", type=Path, required=True, help="what prepare.sh left")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and logs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--rows",
        type=parse_rows,
        default="small,7b",
        help="what to measure: small or 7b for all of a model's, or small-train, small-shared, "
        "small-eval, 7b-train, 7b-shared, 7b-recomputed, 7b-eval, 7b-qlora",
    )
    parser.add_argument(
        "--settings", nargs="+", default=[], help="only these of the peer's, in this order"
    )
    parser.add_argument("--seconds", type=float, default=285, help="the time of everything")
    parser.add_argument("--limit", type=float, help="seconds of one measurement, for a trial")
    parser.add_argument(
        "--keep-models", action="store_true", help="take the models that an earlier call made"
    )
    parser.add_argument(
        "--prepare", action="store_true", help="make the models and compile; measure nothing"
    )
    parser.add_argument("--quick", action="store_true", help="tiny models, to try this script")
    options = parser.parse_args()
    known = {setting for _, peer in SETTINGS.values() for setting, _, _ in [*peer, *EVAL_PEER]}
    for setting in options.settings:
        if setting not in known:
            parser.error(f"--settings {setting}: it must be some of {', '.join(sorted(known))}")
    options.data = options.files / "rows.parquet"
    options.budget = Budget(options.seconds)
    options.models = options.work / "models"
    return options


def choose_space(options: argparse.Namespace) -> None:
    """Llama-2-7B's weights take 13.5 GB; where the disk is short of that, memory holds them."""
    options.work.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    memory = Path("/dev/shm")
    is_short = not options.models.exists() and shutil.disk_usage(options.work).free < 25e9
    if is_short and memory.is_dir():
        options.models = memory / "plw-models"


def keep_logs(options: argparse.Namespace) -> None:
    logs = sorted((options.work / "logs").glob("*.*"))
    ends = [f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}\n" for log in logs]
    (options.out / "fast-logs.txt").write_text("".join(ends))


def main() -> None:
    options = parse_options()
    choose_space(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    found = Measurements(options.out / "gpu.json", options.budget)
    try:
        (prepare if options.prepare else measure_all)(options, found)
    finally:
        keep_logs(options)
        card = found.card
        peak = next((row["tflops"] for row in found.rows if "tflops" in row), None)
        print(f"\n{card['card']}, driver {card['driver']}, bf16 products at {peak} TFLOP/s\n")
        print(f"{table(found.rows)}\n\n{bars(found)}")


if __name__ == "__main__":
    main()
