"""Which option a model chooses, by PyTorch in float32, compared with what `plw eval` wrote.

    choose.py --model DIR --data FILE --predictions DIR   compare with plw's predictions.parquet
    choose.py --model DIR --data FILE --plw BINARY        call `plw eval` first
    choose.py --model DIR --data FILE                     print a JSON line for each question

The choice is the option whose letter has the greatest logit where the answer is predicted.
Fails where a choice differs or a logit by more than --tolerance. Where the two greatest logits are
closer than that, the choice may differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import torch
from transformers import LlamaForCausalLM

from options import Reader, parser_of
from questions import LETTERS
from rows import DataError

# Flags of both programs that decide the text of a question.
PASSED_ON = ["chat_template", "prompt_template", "completion_template"]


@dataclass(frozen=True)
class Prediction:
    """The logit of each option's letter, in the options' order."""

    row: int
    answer: str
    choice: str
    logits: list[float]


@torch.no_grad()
def predictions(reader: Reader, model: LlamaForCausalLM, path: Path) -> Iterator[Prediction]:
    """The model's predictions for the questions of a file, one at a time and so unpadded."""
    for reading, encoded in reader.encoded(path):
        answer = reader.answer(reading, encoded)
        if answer is None:
            raise DataError(f"{path}, row {reading.row} is not a question of several options")
        prompt = torch.tensor([encoded.token_ids[: answer.position + 1]])
        logits = model(prompt, logits_to_keep=1).logits[0, -1].float()
        scores = [logits[token].item() for token in answer.option_tokens]
        choice = LETTERS[max(range(len(scores)), key=scores.__getitem__)]
        yield Prediction(reading.row, answer.letter, choice, scores)


def evaluate(options: argparse.Namespace, folder: Path) -> None:
    """Calls `plw eval`."""
    command = [options.plw, "eval", "--model", options.model, "--data", options.data]
    command += ["--output-dir", folder]
    command += ["--limit", options.limit] if options.limit else []
    for name in PASSED_ON:
        if getattr(options, name) is not None:
            command += [f"--{name.replace('_', '-')}", getattr(options, name)]
    for columns in options.column:
        command += ["--column", columns]
    ended = subprocess.run([str(part) for part in command], check=False)
    if ended.returncode != 0:
        sys.exit(f"error: plw eval ends with {ended.returncode}")


def difference(ours: Prediction, theirs: dict[str, Any], tolerance: float) -> tuple[float, str]:
    """The greatest difference of a logit, and what is wrong; empty if nothing is."""
    if len(ours.logits) != len(theirs["logits"]):
        return float("inf"), f"{len(theirs['logits'])} logits, should be {len(ours.logits)}"
    pairs = zip(ours.logits, theirs["logits"], strict=True)
    greatest = max(abs(one - other) for one, other in pairs)
    first, second = sorted(ours.logits, reverse=True)[:2]
    if ours.row != theirs["row"] or ours.answer != theirs["answer"]:
        return greatest, f"row {theirs['row']}, answer {theirs['answer']}"
    if not greatest <= tolerance:
        return greatest, f"logits {theirs['logits']}, should be {ours.logits}"
    if ours.choice != theirs["choice"] and first - second > tolerance:
        return greatest, f"choice {theirs['choice']}, should be {ours.choice}"
    return greatest, ""


def compare(found: Iterator[Prediction], table: list[dict[str, Any]], tolerance: float) -> bool:
    """Compares all predictions; prints the first that differs and a summary."""
    greatest, wrong, right, same, count = 0.0, 0, 0, 0, 0
    for index, ours in enumerate(found):
        count += 1
        right += ours.choice == ours.answer
        if index >= len(table):
            continue
        here, problem = difference(ours, table[index], tolerance)
        greatest = max(greatest, here)
        same += ours.choice == table[index]["choice"]
        if problem:
            wrong += 1
            if wrong == 1:
                print(f"row {ours.row} (answer {ours.answer}): plw has {problem}")
    is_equal = wrong == 0 and count == len(table) and count > 0
    summary = dict(
        questions=count, predictions=len(table), accuracy=right / max(count, 1), same_choices=same,
        different=wrong, greatest_difference=greatest, equal=is_equal,
    )  # fmt: skip
    print(json.dumps(summary))
    return is_equal


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", required=True, type=Path, help="a file of questions")
    against = parser.add_mutually_exclusive_group()
    against.add_argument("--predictions", type=Path, help="plw's predictions.parquet or its folder")
    against.add_argument("--plw", type=Path, help="the binary, to call `plw eval` with")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    options = parser.parse_args()
    model = LlamaForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    try:
        found = predictions(Reader(options), model, options.data)
        if not options.predictions and not options.plw:
            for one in found:
                print(json.dumps(vars(one)), flush=True)
            return
        with tempfile.TemporaryDirectory() as folder:
            written = options.predictions or Path(folder) / "evaluation"
            if options.plw:
                evaluate(options, written)
            path = written / "predictions.parquet" if written.is_dir() else written
            table = parquet.read_table(path).to_pylist()
        if not compare(found, table, options.tolerance):
            sys.exit(1)
    except DataError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
