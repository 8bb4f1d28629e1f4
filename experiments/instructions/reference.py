"""What plw should make of instruction data, by transformers: one JSON line for each example.

    reference.py --model DIR --data FILE [options]

A line has the file, the row (from 0), and for each token its id, its role (`prompt` or
`completion`) and its loss weight; for a multiple-choice question also the answer's letter, the
token of each option and the position whose logits predict the answer. With --text the lines are for
people: the text with its completions in [[...]].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from encoding import Encoded
from options import Reader, Reading, parser_of
from rows import DataError


def line_of(reader: Reader, path: Path, reading: Reading, encoded: Encoded) -> dict[str, Any]:
    """The JSON of an example."""
    answer = reader.answer(reading, encoded)
    return {
        "file": str(path),
        "row": reading.row,
        "token_ids": encoded.token_ids,
        "roles": ["completion" if one else "prompt" for one in encoded.is_completion],
        "weights": encoded.weights.tolist(),
        "answer": answer.letter if answer else None,
        "option_tokens": answer.option_tokens if answer else None,
        "position": answer.position if answer else None,
    }


def marked(encoded: Encoded) -> str:
    """The text with its completions in double brackets, token by token."""
    text, at, inside = "", 0, False
    for (_, end), is_completion in zip(encoded.offsets, encoded.is_completion, strict=True):
        if is_completion != inside:
            text += "[[" if is_completion else "]]"
            inside = bool(is_completion)
        text += encoded.text[at : max(at, end)]
        at = max(at, end)
    return text + ("]]" if inside else "") + encoded.text[at:]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", required=True, type=Path, nargs="+", help="data files")
    parser.add_argument("--text", action="store_true", help="print texts for people")
    parser.add_argument("--count", action="store_true", help="print only the numbers of each file")
    options = parser.parse_args()
    try:
        reader = Reader(options)
        for path in options.data:
            examples = tokens = completion = 0
            for reading, encoded in reader.encoded(path):
                examples += 1
                tokens += len(encoded.token_ids)
                completion += int(encoded.is_completion.sum())
                if options.text:
                    print(f"--- {path} row {reading.row}\n{marked(encoded)}")
                elif not options.count:
                    print(json.dumps(line_of(reader, path, reading, encoded)))
            if options.count:
                counts = dict(examples=examples, tokens=tokens, completion_tokens=completion)
                print(json.dumps({"file": str(path), **counts}))
    except DataError as error:
        sys.exit(f"error: {error}")
    for reason in reader.skipped:
        print(f"skipped: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
