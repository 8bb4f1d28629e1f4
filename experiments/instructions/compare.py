"""Does plw read instruction data as transformers does? Compares `plw inspect --json` with
reference.py, example by example: token ids, roles, weights, and where an answer is predicted.

    compare.py --plw BINARY --model SMOLLM2 [--only NAME ...] [--report FILE]

Prints a line for each case and the first difference of each; fails where anything differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from cases import Case, make_tokenizers, read_cases
from encoding import Encoded
from generated import write_files
from options import Reader, Reading, parser_of
from reference import line_of
from rows import DataError

# More than any file has.
ALL = 10**9


@dataclass
class Outcome:
    """What came of a case. `problem` says why there is none, `first` what differs first."""

    case: str
    examples: int = 0
    tokens: int = 0
    completion_tokens: int = 0
    different: int = 0
    first: str = ""
    problem: str = ""

    @property
    def state(self) -> str:
        return "FAILS" if self.problem else "DIFFERS" if self.different else "equal"


def inspected(plw: Path, case: Case, model: Path) -> list[dict[str, Any]]:
    """The examples that plw prints."""
    command = [plw, "inspect", "--json", "--examples", ALL, "--model", model, "--data", case.data]
    command += ["--limit", case.limit] if case.limit else []
    command = [str(part) for part in [*command, *case.flags]]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if ended.returncode != 0:
        raise DataError(f"plw ends with {ended.returncode}: {ended.stderr.strip()}")
    return json.loads(ended.stdout)["examples"]


def reader_of(case: Case, model: Path) -> Reader:
    """The reference with the case's flags."""
    flags = ["--model", str(model), *case.flags]
    flags += ["--limit", str(case.limit)] if case.limit else []
    return Reader(parser_of(None).parse_args(flags))


def compare(plw: Path | None, case: Case, model: Path) -> Outcome:
    """Compares all examples of a case; without plw only reads and counts the reference's."""
    outcome = Outcome(case.title)
    try:
        reader = reader_of(case, model)
        found = inspected(plw, case, model) if plw else []
        for one, other in zip_longest(reader.encoded(case.data), found):
            if one is not None:
                outcome.examples += 1
                outcome.tokens += len(one[1].token_ids)
                outcome.completion_tokens += int(one[1].is_completion.sum())
            difference = difference_of(reader, case, one, other) if plw else ""
            if difference:
                outcome.different += 1
                outcome.first = outcome.first or difference
    except DataError as error:
        outcome.problem = str(error)
    return outcome


def difference_of(
    reader: Reader,
    case: Case,
    one: tuple[Reading, Encoded] | None,
    other: dict[str, Any] | None,
) -> str:
    """What differs first between the reference's example and plw's; empty if nothing does."""
    if one is None or other is None:
        who = "the reference" if one is None else "plw"
        return f"{who} has fewer examples"
    line = line_of(reader, case.data, *one)
    place = f"row {line['row']}"
    tokens = other["tokens"]
    for name in ["row", "answer"]:
        if line[name] != other[name]:
            return f"{place}: {name} is {other[name]!r}, but should be {line[name]!r}"
    answer = None if line["position"] is None else line["position"] + 1
    columns = {
        "token_id": line["token_ids"],
        "role": line["roles"],
        "weight": [np.float32(weight) for weight in line["weights"]],
        "is_answer": [at == answer for at in range(len(line["roles"]))],
    }
    for name, expected in columns.items():
        got = [token[name] for token in tokens]
        if name == "weight":
            got = [np.float32(weight) for weight in got]
        if got != expected:
            return f"{place}: {explain(reader, one[1], tokens, name, got, expected)}"
    return ""


def explain(
    reader: Reader, encoded: Encoded, tokens: list, name: str, got: list, expected: list
) -> str:
    """The first token that differs, and the text before it."""
    pairs = enumerate(zip_longest(got, expected))
    at = next(at for at, (left, right) in pairs if left != right)
    tokenizer = reader.model.tokenizer

    def shown(values: list, pieces: list[str]) -> str:
        ends = [f"{value} {piece!r}" for value, piece in zip(values, pieces, strict=False)]
        return ", ".join(ends[at : at + 4]) or "nothing more"

    pieces = tokenizer.convert_ids_to_tokens(encoded.token_ids)
    start = encoded.offsets[at][0] if at < len(pieces) else len(encoded.text)
    return (
        f"{name} differs from token {at} on ({len(tokens)} tokens, should be {len(pieces)}), "
        f"behind {encoded.text[max(0, start - 60) : start]!r}\n"
        f"    plw:       {shown(got, [token['token'] for token in tokens])}\n"
        f"    reference: {shown(expected, pieces)}"
    )


def table_line(outcome: Outcome, state: str) -> str:
    counts = [outcome.examples, outcome.tokens, outcome.completion_tokens, outcome.different]
    cells = " | ".join(f"{count:>7}" for count in counts)
    return f"| {outcome.case:<68} | {cells} | {state:<7} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plw", type=Path, help="the binary; without it only count")
    parser.add_argument("--model", required=True, type=Path, help="SmolLM2, for its tokenizer")
    parser.add_argument("--only", nargs="+", default=[], help="parts of the names of cases")
    parser.add_argument("--report", type=Path, help="write all outcomes to a JSON file")
    options = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        generated = Path(folder) / "generated"
        write_files(generated)
        tokenizers = make_tokenizers(options.model, Path(folder))
        cases = read_cases(generated)
        if options.only:
            cases = [case for case in cases if any(part in case.title for part in options.only)]
        print(f"| {'case':<68} | {'rows':>7} | {'tokens':>7} | {'compl.':>7} | differ. | result  |")
        for case in cases:
            outcome = compare(options.plw, case, tokenizers[case.tokenizer])
            outcomes.append(outcome)
            state = "counted" if not options.plw and outcome.state == "equal" else outcome.state
            print(table_line(outcome, state), flush=True)
            for told in filter(None, [outcome.problem, outcome.first]):
                print(f"    {told}", flush=True)
    if options.report:
        written = [{**asdict(one), "state": one.state} for one in outcomes]
        options.report.write_text(json.dumps(written, indent=1, ensure_ascii=False))
    good = sum(outcome.state == "equal" for outcome in outcomes)
    meaning = "are equal" if options.plw else "can be read by the reference; nothing was compared"
    print(f"{good} of {len(outcomes)} cases {meaning}")
    if good != len(outcomes) or not outcomes:
        sys.exit(1)


if __name__ == "__main__":
    main()
