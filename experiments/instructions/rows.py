"""Rows of a data file, as dictionaries: JSON, JSON lines, CSV and parquet, text also compressed.

Small readers by Python's json and csv and by pyarrow. Knows files; knows no format of questions or
conversations.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet

Row = dict[str, Any]

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


class DataError(Exception):
    """A file or row that cannot be used, with the reason."""


def read_rows(path: Path, limit: int | None = None) -> Iterator[tuple[int, Row]]:
    """The rows of a file with their numbers, from 0; at most `limit`."""
    return itertools.islice(enumerate(_rows(path)), limit)


def _rows(path: Path) -> Iterator[Row]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    kind = suffixes[-2] if compression and len(suffixes) > 1 else (suffixes or [""])[-1]
    if kind == ".parquet":
        for batch in parquet.ParquetFile(path).iter_batches(1024):
            yield from batch.to_pylist()
        return
    readers = {".json": _json, ".jsonl": _json_lines, ".ndjson": _json_lines, ".csv": _csv}
    if kind not in readers:
        raise DataError(f"{path} is not of a known kind: {', '.join(readers)} or .parquet")
    # The default would guess the compression from the name.
    with pyarrow.input_stream(str(path), compression=compression) as binary:
        yield from readers[kind](io.BytesIO(binary.read().removeprefix(codecs.BOM_UTF8)))


def _json(file: io.BytesIO) -> Iterator[Row]:
    """An array of objects, or objects one after the other, as JSON lines are."""
    text = file.getvalue()
    if text.lstrip().startswith(b"["):
        yield from json.loads(text)
    else:
        yield from _json_lines(file)


def _json_lines(file: io.BytesIO) -> Iterator[Row]:
    """One object a line; a line ends with a line feed and nothing else. Blank lines are no rows."""
    for line in file:
        if line.strip():
            yield json.loads(line)


def _csv(file: io.BytesIO) -> Iterator[Row]:
    """RFC 4180 with a header. Every value is text; line breaks in quotes stay as they are."""
    csv.field_size_limit(sys.maxsize)
    yield from csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
