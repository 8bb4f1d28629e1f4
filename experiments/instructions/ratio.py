"""The generation ratio of instruction data: completion divided by prompt, example by example.

    ratio.py --model DIR --data FILE ... [options]

Prints a JSON object with the ratios of tokens and of characters (Unicode scalar values), of each
file and of all files together. An example without a prompt token or character has no ratio and is
counted apart.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from encoding import Encoded
from options import Reader, parser_of
from rows import DataError

# The share that the article leaves out at each end before it takes the mean.
CUT = 0.0025
UNITS = ["tokens", "chars"]

Counts = npt.NDArray[np.int64]


def counts(encoded: Encoded) -> tuple[int, int, int, int]:
    """Prompt and completion in tokens, then in characters. A character is completion where it lies
    in a completion, which may end within a token."""
    completion = int(encoded.is_completion.sum())
    characters = sum(end - start for start, end in encoded.completions)
    return (
        len(encoded.token_ids) - completion,
        completion,
        len(encoded.text) - characters,
        characters,
    )


def statistics(prompt: Counts, completion: Counts) -> dict[str, Any]:
    """The ratios of examples, given the prompt and the completion of each."""
    has_ratio = prompt > 0
    ratios = np.sort(completion[has_ratio] / prompt[has_ratio])
    summary: dict[str, Any] = dict(
        examples=len(prompt), without_prompt=int((~has_ratio).sum()),
        prompt=int(prompt.sum()), completion=int(completion.sum()),
    )  # fmt: skip
    if not len(ratios):
        return summary
    cut = int(len(ratios) * CUT)
    positive = ratios[ratios > 0]
    deciles = np.percentile(ratios, range(10, 100, 10))
    return summary | dict(
        mean=float(ratios.mean()),
        mean_without_extremes=float(ratios[cut : len(ratios) - cut].mean()),
        geometric_mean=float(np.exp(np.log(positive).mean())) if len(positive) else None,
        median=float(np.median(ratios)),
        deciles=deciles.tolist(),
        share_above_1=float((ratios > 1).mean()),
        smallest=float(ratios[0]),
        greatest=float(ratios[-1]),
    )


def by_unit(table: list[tuple[int, int, int, int]]) -> dict[str, Any]:
    """The statistics in tokens and in characters."""
    columns = np.array(table, np.int64).reshape(-1, 4).T
    pairs = zip(UNITS, [columns[:2], columns[2:]], strict=True)
    return {unit: statistics(prompt, completion) for unit, (prompt, completion) in pairs}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", required=True, type=Path, nargs="+", help="data files")
    options = parser.parse_args()
    files, together = {}, []
    try:
        reader = Reader(options)
        for path in options.data:
            table = [counts(encoded) for _, encoded in reader.encoded(path)]
            files[str(path)] = by_unit(table)
            together += table
    except DataError as error:
        sys.exit(f"error: {error}")
    skipped = len(reader.skipped)
    print(json.dumps({"files": files, "all": by_unit(together), "skipped_rows": skipped}, indent=1))


if __name__ == "__main__":
    main()
