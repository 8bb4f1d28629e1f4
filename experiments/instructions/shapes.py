"""What a row is, recognized by its columns: a conversation or a multiple-choice question."""

from __future__ import annotations

from collections.abc import Iterable

from conversations import TEXTS, TURNS, Conversation
from questions import Question, question_of
from rows import DataError, Row

Example = Conversation | Question


def parse_columns(settings: Iterable[str]) -> dict[str, list[str]]:
    """`question=query,answer=gold`, in one setting or several: the new names and what they name.

    A name that comes several times names a list.
    """
    renamed: dict[str, list[str]] = {}
    for pair in ",".join(settings).split(","):
        if not pair:
            continue
        name, equals, column = pair.partition("=")
        if not (name and equals and column):
            raise DataError(f"{pair!r} is not of the form NAME=COLUMN")
        renamed.setdefault(name, []).append(column)
    return renamed


def rename(row: Row, columns: dict[str, list[str]]) -> Row:
    """A row with columns renamed; those that were renamed lose their old names."""
    taken = {column for names in columns.values() for column in names}
    missing = sorted(taken - row.keys())
    if missing:
        raise DataError(f"there is no column {', '.join(missing)}; there are {', '.join(row)}")
    rest = {name: value for name, value in row.items() if name not in taken}
    new = {
        name: row[names[0]] if len(names) == 1 else [row[one] for one in names]
        for name, names in columns.items()
    }
    return {**rest, **new}


def examples_of(row: Row) -> list[Example]:
    """The examples of a row: turns first, then questions with options, then pairs of texts."""
    for recognize in TURNS:
        if (found := recognize(row)) is not None:
            return list(found)
    if (question := question_of(row)) is not None:
        return [question]
    for recognize in TEXTS:
        if (found := recognize(row)) is not None:
            return list(found)
    raise DataError(f"the columns {', '.join(row)} are of no known format")
