"""Rows as multiple-choice questions: which columns they have, which option is right, the prompt."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rows import DataError, Row

LETTERS = string.ascii_uppercase
WITH_PASSAGE = (
    "Choose the correct option based on the context.\n"
    "Context:{article}\nQuestion:{question}\nOptions:{options}"
)
WITHOUT_PASSAGE = "Choose the correct option.\nQuestion:{question}\nOptions:{options}"
COMPLETION = "{answer}"


@dataclass(frozen=True)
class Question:
    """A question; `answer` is the index of the right option, `passage` empty where there is none.

    `columns` are the row's other columns as text, for prompt templates.
    """

    passage: str
    question: str
    options: list[str]
    answer: int
    columns: dict[str, str] = field(default_factory=dict)

    def prompt(self, template: str | None) -> str:
        """The user's turn."""
        template = template or (WITH_PASSAGE if self.passage else WITHOUT_PASSAGE)
        return template.format_map(self._fields())

    def completions(self, template: str | None) -> list[str]:
        """The assistant's turn with the letter of each option in turn."""
        fields = self._fields()
        letters = LETTERS[: len(self.options)]
        return [(template or COMPLETION).format_map({**fields, "answer": one}) for one in letters]

    def _fields(self) -> dict[str, str]:
        own = {"article": self.passage, "question": self.question, "options": repr(self.options)}
        return {**self.columns, **own}


def question_of(row: Row) -> Question | None:
    """The question of a row; None where its columns are of no form of question."""
    for recognize in FORMS:
        found = recognize(row)
        if found:
            passage, question, options, answer = found
            return _checked(row, passage, question, options, answer)
    return None


Found = tuple[str, str, list[str], int]


def _race(row: Row) -> Found | None:
    if not {"article", "question", "options", "answer"} <= row.keys():
        return None
    return row["article"], row["question"], row["options"], _answer(row["answer"], row["options"])


def _labeled(row: Row) -> Found | None:
    """ARC, and OpenBookQA and CommonsenseQA of the hub."""
    choices = row.get("choices")
    is_labeled = isinstance(choices, dict) and {"text", "label"} <= choices.keys()
    if not is_labeled or "answerKey" not in row:
        return None
    question = row["question"] if "question" in row else row.get("question_stem")
    if question is None:
        return None
    labels = list(choices["label"])
    if row["answerKey"] not in labels:
        raise DataError(f"answerKey {row['answerKey']!r} is none of the labels {labels}")
    return "", question, choices["text"], labels.index(row["answerKey"])


def _gold(row: Row) -> Found | None:
    if not {"query", "choices", "gold"} <= row.keys():
        return None
    return "", row["query"], row["choices"], _index(row["gold"])


def _mmlu(row: Row) -> Found | None:
    if not {"question", "choices", "answer"} <= row.keys():
        return None
    return "", row["question"], row["choices"], _index(row["answer"])


def _sciq(row: Row) -> Found | None:
    distractors = ["distractor1", "distractor2", "distractor3"]
    if not {"question", "correct_answer", *distractors} <= row.keys():
        return None
    options = [row["correct_answer"], *(row[name] for name in distractors)]
    options.sort(key=lambda option: option.encode())
    answer = options.index(row["correct_answer"])
    return _passage(row.get("support")), row["question"], options, answer


def _dream(row: Row) -> Found | None:
    if not {"dialogue", "question", "choice", "answer"} <= row.keys():
        return None
    answer = _text_index(row["answer"], row["choice"])
    return "\n".join(row["dialogue"]), row["question"], row["choice"], answer


def _options(row: Row) -> Found | None:
    is_list = isinstance(row.get("options"), list)
    if not is_list or not {"question", "answer"} <= row.keys():
        return None
    return "", row["question"], row["options"], _answer(row["answer"], row["options"])


def _letter_columns(row: Row) -> Found | None:
    if not {"question", "A", "B", "answer"} <= row.keys():
        return None
    count = next((n for n, letter in enumerate(LETTERS) if row.get(letter) is None), len(LETTERS))
    options = [row[letter] for letter in LETTERS[:count]]
    return "", row["question"], options, _answer(row["answer"], options)


FORMS: list[Callable[[Row], Found | None]] = [
    _race, _labeled, _gold, _mmlu, _sciq, _dream, _options, _letter_columns,
]  # fmt: skip


def _passage(support: str | None) -> str:
    return support if support and support.strip() else ""


def _index(value: Any) -> int:
    """An index from 0, a number or, in CSV, its digits."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"the answer {value!r} is not an index")
    return int(value)


def _text_index(text: str, options: list[str]) -> int:
    if text not in options:
        raise DataError(f"the answer {text!r} is none of the options {options}")
    return options.index(text)


def _answer(value: Any, options: list[str]) -> int:
    """The letter of an option; a number is its index, and another text must be its text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) == 1 and value in LETTERS[: len(options)]:
        return LETTERS.index(value)
    return _text_index(value, options)


def _checked(row: Row, passage: str, question: str, options: list[str], answer: int) -> Question:
    options = list(options)
    texts = [passage, question, *options]
    if not all(isinstance(text, str) for text in texts):
        raise DataError("the passage, the question or an option is not a text")
    if not 2 <= len(options) <= len(LETTERS):
        raise DataError(f"there are {len(options)} options, and 2 to {len(LETTERS)} have letters")
    if not question.strip() or not all(option.strip() for option in options):
        raise DataError("the question or an option is blank")
    if not 0 <= answer < len(options):
        raise DataError(f"the answer {answer} is not the index of one of {len(options)} options")
    columns = {name: str(value) for name, value in row.items() if isinstance(value, str | int)}
    return Question(passage, question, options, answer, columns)
