"""The options of the programs here, which are called as plw's flags are, and what they make."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from encoding import (
    Answer, Encoded, Templates, Weights, check_mask, conversation_of, encode, find_answer,
)  # fmt: skip
from model_tokenizer import load_template, load_tokenizer
from questions import Question
from rendering import Rendered, Renderer
from rows import DataError, read_rows
from shapes import Example, examples_of, parse_columns, rename

# Examples that are tokenized together.
BATCH = 256


@dataclass(frozen=True)
class Reading:
    """An example, and the row that it comes from."""

    row: int
    example: Example


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser of what decides which examples a model gets, as which tokens."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, type=Path, help="directory with tokenizer.json")
    add("--limit", type=int, help="only the first N rows of each file")
    add("--loss-turns", choices=["all", "last"], default="all")
    add("--chat-template", default="model", help="model, none, chatml, llama-2, or a .jinja file")
    add("--column", action="append", default=[], metavar="NAME=COLUMN[,NAME=COLUMN]")
    add("--prompt-template", help="the user's turn of a question")
    add("--completion-template", help="the assistant's turn of a question")
    add("--prompt-loss-weight", type=float, default=1.0)
    add("--completion-loss-weight", type=float, default=1.0)
    add("--on-bad-row", choices=["error", "skip"], default="error")
    return parser


class Reader:
    """Reads, renders and tokenizes as the options say, and counts the rows that it skips."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.model = load_tokenizer(options.model)
        template = load_template(options.chat_template, options.model, self.model)
        self.renderer = Renderer(self.model, template, options.loss_turns)
        self.templates = Templates(options.prompt_template, options.completion_template)
        self.weights = Weights(options.prompt_loss_weight, options.completion_loss_weight)
        self.columns = parse_columns(options.column)
        self.skips = options.on_bad_row == "skip"
        self.limit = options.limit
        self.skipped: list[str] = []

    def examples(self, path: Path) -> Iterator[Reading]:
        """The examples of a file."""
        for number, row in read_rows(path, self.limit):
            try:
                for example in examples_of(rename(row, self.columns)):
                    yield Reading(number, example)
            except (DataError, KeyError, TypeError, ValueError) as error:
                self._refuse(path, number, error)

    def encoded(self, path: Path) -> Iterator[tuple[Reading, Encoded]]:
        """The examples of a file with their tokens."""
        batch = []
        for reading in self.examples(path):
            try:
                conversation = conversation_of(reading.example, self.templates)
                batch.append((reading, self.renderer.render(conversation)))
            except (DataError, KeyError, TypeError, ValueError) as error:
                self._refuse(path, reading.row, error)
            if len(batch) == BATCH:
                yield from self._encode(path, batch)
                batch = []
        yield from self._encode(path, batch)

    def _encode(self, path: Path, batch: list) -> Iterator[tuple[Reading, Encoded]]:
        rendered = [one for _, one in batch]
        try:
            encoded = encode(self.renderer, rendered, self.weights)
        except DataError:
            # One of them is bad: each by itself.
            encoded = [self._encode_one(path, *one) for one in batch]
        for (reading, text), tokens in zip(batch, encoded, strict=True):
            if tokens:
                check_mask(self.renderer, text, tokens)
                yield reading, tokens

    def _encode_one(self, path: Path, reading: Reading, rendered: Rendered) -> Encoded | None:
        try:
            return encode(self.renderer, [rendered], self.weights)[0]
        except DataError as error:
            self._refuse(path, reading.row, error)
            return None

    def answer(self, reading: Reading, encoded: Encoded) -> Answer | None:
        """Where a question's answer is predicted; None of a conversation."""
        if not isinstance(reading.example, Question):
            return None
        return find_answer(self.renderer, reading.example, self.templates, encoded)

    def _refuse(self, path: Path, row: int, error: Exception) -> None:
        """Counts a bad row, or ends with it."""
        reason = f"{path}, row {row} (the first is 0): {type(error).__name__}: {error}"
        if not self.skips:
            raise DataError(reason) from error
        self.skipped.append(reason)
