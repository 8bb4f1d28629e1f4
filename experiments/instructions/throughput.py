"""How fast Python reads, renders and tokenizes instruction data, to compare with plw.

    throughput.py --model DIR --data FILE ... [--repetitions 3] [options]

Prints a JSON line for each repetition and a summary with the medians. `read` is pyarrow's reading,
`render` makes prompts and applies the chat template once for each example, `encode` is encode_batch
of the tokenizers library with all threads, `ids` takes the token ids out of its results. Other
programs slow it down: `cpu_seconds` is the time of all its threads, and `load` what the machine had
to do in the last minute, this program included.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import tokenizers
import transformers

from encoding import conversation_of
from options import Reader, parser_of
from rows import DataError, read_rows
from shapes import examples_of, rename

# Texts of one call of encode_batch: all at once would keep every offset in memory.
BATCH = 4096

T = TypeVar("T")


def timed(times: dict[str, float], stage: str, work: Callable[[], T]) -> T:
    """Does the work and adds its seconds to those of the stage."""
    began = time.perf_counter()
    result = work()
    times[stage] = times.get(stage, 0.0) + time.perf_counter() - began
    return result


def repetition(reader: Reader, paths: list[Path], with_offsets: bool) -> dict[str, Any]:
    """Reads, renders and tokenizes all files once."""
    times: dict[str, float] = {}

    def rows() -> list[dict[str, Any]]:
        return [row for path in paths for _, row in read_rows(path, reader.limit)]

    def texts() -> list[str]:
        examples = [one for row in read for one in examples_of(rename(row, reader.columns))]
        turns = [conversation_of(one, reader.templates) for one in examples]
        if reader.renderer.template is None:
            return [reader.renderer.render(one).text for one in turns]
        return [reader.renderer.text(one, one.turns) for one in turns]

    backend = reader.model.tokenizer.backend_tokenizer
    encode = backend.encode_batch if with_offsets else backend.encode_batch_fast
    is_direct = reader.renderer.template is None
    began, cpu_began = time.perf_counter(), time.process_time()
    read = timed(times, "read", rows)
    rendered = timed(times, "render", texts)
    tokens = 0
    for first in range(0, len(rendered), BATCH):
        batch = rendered[first : first + BATCH]
        encodings = timed(times, "encode", lambda: encode(batch, add_special_tokens=is_direct))
        tokens += timed(times, "ids", lambda: sum(len(encoding.ids) for encoding in encodings))
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    size = sum(len(text.encode()) for text in rendered)
    return dict(
        examples=len(rendered), tokens=tokens, bytes=size, seconds=seconds, cpu_seconds=cpu_seconds,
        **times, load=os.getloadavg()[0],
        tokens_per_second=tokens / seconds, megabytes_per_second=size / seconds / 1e6,
        encode_tokens_per_second=tokens / times["encode"],
    )  # fmt: skip


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", required=True, type=Path, nargs="+", help="data files")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument(
        "--no-offsets", action="store_true", help="encode_batch_fast, without offsets"
    )
    options = parser.parse_args()
    runs = []
    try:
        reader = Reader(options)
        for _ in range(options.repetitions):
            runs.append(repetition(reader, options.data, not options.no_offsets))
            print(json.dumps(runs[-1]), flush=True)
    except DataError as error:
        sys.exit(f"error: {error}")
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    versions = dict(tokenizers=tokenizers.__version__, transformers=transformers.__version__)
    print(json.dumps({"summary": True, **medians, **versions}))


if __name__ == "__main__":
    main()
