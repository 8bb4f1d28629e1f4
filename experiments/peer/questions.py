"""Multiple-choice questions as both programs read them: the prompt, the tokenizer, a row's tokens.

Rows are taken in file order and never shuffled, so that step n of one program holds the same rows
as step n of another.
"""

from __future__ import annotations

import heapq
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pyarrow.parquet as parquet
from transformers import PreTrainedTokenizerFast

PROMPT = (
    "Choose the correct option based on the context.\n"
    "Context:{article}\nQuestion:{question}\nOptions:{options}"
)
LETTERS = "ABCD"
COLUMNS = ["article", "question", "options", "answer", "example_id"]
LLAMA_2_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}"
    "{% endfor %}"
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A row and its tokens; those before `completion_start` are the prompt."""

    row: Row
    token_ids: list[int]
    completion_start: int


def fail(message: str) -> NoReturn:
    """Ends the program with an error message."""
    sys.exit(f"error: {message}")


def load_tokenizer(directory: str) -> PreTrainedTokenizerFast:
    """Reads tokenizer.json and, where there is one, chat_template.jinja; else takes Llama 2's."""
    folder = Path(directory)
    if not (folder / "tokenizer.json").is_file():
        fail(f"{folder} has no tokenizer.json; give a model directory in the Hugging Face layout")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    template = folder / "chat_template.jinja"
    if template.is_file():
        tokenizer.chat_template = template.read_text(encoding="utf-8")
    else:
        tokenizer.add_special_tokens(dict(bos_token="<s>", eos_token="</s>"))
        tokenizer.chat_template = LLAMA_2_TEMPLATE
    return tokenizer


def read_rows(data: str, limit: int, skip: int = 0) -> list[Row]:
    """The first `limit` rows of a parquet file in RACE's columns, after `skip` others."""
    if not Path(data).is_file():
        fail(f"{data} is not a file; give --data a parquet file in RACE's columns")
    table = parquet.read_table(data)
    lacking = [name for name in COLUMNS if name not in table.column_names]
    if lacking:
        fail(f"{data} has no column {', no column '.join(lacking)}; it needs {', '.join(COLUMNS)}")
    return table.slice(skip, limit).to_pylist()


def encode(row: Row, tokenizer: PreTrainedTokenizerFast) -> Example:
    """A token is prompt where it ends at or before the completion's first character."""
    user = {"role": "user", "content": PROMPT.format(**row)}
    assistant = {"role": "assistant", "content": row["answer"]}
    text = tokenizer.apply_chat_template([user, assistant], tokenize=False)
    prompt = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ends = [end for _, end in encoding["offset_mapping"]]
    start = next((index for index, end in enumerate(ends) if end > len(prompt)), None)
    if start is None:
        fail(f"question {row['example_id']}: the chat template renders no token after the prompt")
    return Example(row, encoding["input_ids"], start)


def read_examples(
    data: str, tokenizer: PreTrainedTokenizerFast, max_length: int, limit: int, skip: int = 0
) -> list[Example]:
    """The encoded rows of a file; those of more than `max_length` tokens are left out."""
    examples = [encode(row, tokenizer) for row in read_rows(data, limit, skip)]
    return [example for example in examples if len(example.token_ids) <= max_length]


def passages(examples: list[Example], size: int) -> list[list[Example]]:
    """The questions of each passage; those of a long one are divided above `size` tokens."""
    units: list[list[Example]] = []
    lengths: list[int] = []
    unit_of: dict[str, int] = {}
    for example in examples:
        passage, length = example.row["article"], len(example.token_ids)
        unit = unit_of.get(passage)
        if unit is None or lengths[unit] + length > size:
            unit = unit_of[passage] = len(units)
            units.append([])
            lengths.append(0)
        units[unit].append(example)
        lengths[unit] += length
    return units


def pack(examples: list[Example], size: int | None) -> list[list[Example]]:
    """Packs of at most `size` tokens, the same as plw's: passages, longest first, each into the
    shortest pack that has room for it (Krell et al. 2021, arXiv 2107.02027). Packs come in the
    order of their first passage. Without a size one example each."""
    if size is None:
        return [[example] for example in examples]
    units = passages(examples, size)
    lengths = [sum(len(example.token_ids) for example in unit) for unit in units]
    packs: list[list[int]] = []
    shortest: list[tuple[int, int]] = []
    for unit in sorted(range(len(units)), key=lambda unit: -lengths[unit]):
        if shortest and shortest[0][0] + lengths[unit] <= size:
            used, number = heapq.heappop(shortest)
        else:
            used, number = 0, len(packs)
            packs.append([])
        packs[number].append(unit)
        heapq.heappush(shortest, (used + lengths[unit], number))
    packs = sorted(sorted(members) for members in packs)
    return [sum((units[unit] for unit in members), []) for members in packs]


def letter_tokens(row: Row, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The token of each option's letter in the place where the answer stands."""
    examples = [encode(dict(row, answer=letter), tokenizer) for letter in LETTERS]
    return [example.token_ids[example.completion_start] for example in examples]


def choose(scores: list[float]) -> str:
    """The letter with the greatest score."""
    return LETTERS[max(range(len(scores)), key=scores.__getitem__)]
