"""Writes small files of invented rows in the formats that are compared, with one seed for each.

    generated.py OUT_DIR
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet

from invented import Inventor
from questions import LETTERS

ROWS = 20

Row = dict[str, Any]


def message(role: str, content: str, **more: Any) -> Row:
    return {"role": role, "content": content, **more}


def labeled(inventor: Inventor, count: int, labels: str) -> Row:
    return {"text": inventor.options(count), "label": list(labels[:count])}


def arc(inventor: Inventor) -> Row:
    choices = labeled(inventor, 3 + inventor.below(3), str(inventor.one_of(LETTERS, "12345")))
    answer = choices["label"][inventor.below(len(choices["label"]))]
    return {"id": "Q1", "question": inventor.text(), "choices": choices, "answerKey": answer}


def openbookqa(inventor: Inventor) -> Row:
    answer = inventor.one_of(*"ABCD")
    choices = labeled(inventor, 4, LETTERS)
    return {"question_stem": inventor.text(), "choices": choices, "answerKey": answer}


def commonsenseqa(inventor: Inventor) -> Row:
    choices = labeled(inventor, 5, LETTERS)
    concept, answer = inventor.sentence(2), inventor.one_of(*"ABCDE")
    question = {"question": inventor.text(), "question_concept": concept}
    return {**question, "choices": choices, "answerKey": answer}


def mmlu(inventor: Inventor) -> Row:
    row = {"question": inventor.text(), "subject": "invented_subject"}
    return {**row, "choices": inventor.options(4), "answer": inventor.below(4)}


def mmlu_csv(inventor: Inventor) -> Row:
    options = dict(zip("ABCD", inventor.options(4), strict=True))
    return {"question": inventor.text(), **options, "answer": inventor.one_of(*"ABCD")}


def sciq(inventor: Inventor) -> Row:
    options = inventor.options(4)
    distractors = {f"distractor{number}": options[number] for number in (1, 2, 3)}
    support = inventor.one_of("", " \n", inventor.text(), inventor.sentence(30))
    return {
        "question": inventor.text(), **distractors, "correct_answer": options[0], "support": support
    }  # fmt: skip


def dream(inventor: Inventor) -> Row:
    dialogue = [f"{'MW'[turn % 2]}: {inventor.text()}" for turn in range(2 + inventor.below(4))]
    choice = inventor.options(3)
    answer = choice[inventor.below(3)]
    return {"dialogue": dialogue, "question": inventor.text(), "choice": choice, "answer": answer}


def options_list(inventor: Inventor) -> Row:
    options = inventor.options(2 + inventor.below(5))
    answer = LETTERS[inventor.below(len(options))]
    return {"question": inventor.text(), "options": options, "answer": answer}


def openai_weights(inventor: Inventor) -> Row:
    turns = [message("system", inventor.text())] if inventor.below(2) else []
    for _ in range(1 + inventor.below(3)):
        turns.append(message("user", inventor.text()))
        turns.append(message("assistant", inventor.text()))
        if inventor.below(2):
            turns[-1]["weight"] = inventor.one_of(0, 1, 1.0)
    return {"messages": turns}


def loss_weights(inventor: Inventor) -> Row:
    """LLaMA-Factory's weights, of every kind of turn and of values whose products are exact."""
    turns = [message("system", inventor.text())] if inventor.below(2) else []
    for _ in range(1 + inventor.below(3)):
        turns.append(message("user", inventor.text()))
        turns.append(message("assistant", inventor.text()))
    for turn in turns:
        if inventor.below(2):
            turn["loss_weight"] = inventor.one_of(0, 0.25, 0.5, 1, 2, 3.0)
    return {"messages": turns}


def alpaca_history(inventor: Inventor) -> Row:
    pairs = [[inventor.text(), inventor.text()] for _ in range(inventor.below(3))]
    return {
        "instruction": inventor.text(),
        "input": inventor.one_of("", "  ", inventor.text()),
        "output": inventor.text(),
        "system": inventor.one_of("", inventor.text()),
        "history": pairs,
    }


def instances(inventor: Inventor) -> Row:
    several = [
        {"input": inventor.one_of("", inventor.text()), "output": inventor.text()}
        for _ in range(1 + inventor.below(3))
    ]
    return {"instruction": inventor.text(), "instances": several}


def trl(inventor: Inventor) -> Row:
    """Assistant turns of the prompt are prompt."""
    prompt = [message("system", inventor.text()), message("user", inventor.text())]
    if inventor.below(2):
        prompt += [message("assistant", inventor.text()), message("user", inventor.text())]
    completion = [message("assistant", inventor.text())]
    if inventor.below(3) == 0:
        completion += [message("user", inventor.text()), message("assistant", inventor.text())]
    return {"prompt": prompt, "completion": completion}


def prompt_completion(inventor: Inventor) -> Row:
    return {"prompt": inventor.text(), "completion": inventor.text()}


def dolly(inventor: Inventor) -> Row:
    context = inventor.one_of("", "\n", inventor.text())
    row = {"instruction": inventor.text(), "context": context, "response": inventor.text()}
    return {**row, "category": "open_qa"}


def openorca(inventor: Inventor) -> Row:
    row = {"id": "flan.1", "system_prompt": inventor.one_of("", inventor.text())}
    return {**row, "question": inventor.text(), "response": inventor.text()}


def question_answer(inventor: Inventor) -> Row:
    return {"question": inventor.text(), "answer": inventor.text()}


def samsum(inventor: Inventor) -> Row:
    dialogue = "\r\n".join(f"{name}: {inventor.text()}" for name in ["Ann", "Ben"])
    return {"id": "1", "dialogue": dialogue, "summary": inventor.text()}


def xsum(inventor: Inventor) -> Row:
    return {"document": inventor.text(), "summary": inventor.text(), "id": "1"}


def odd_text(inventor: Inventor) -> Row:
    """Nothing but odd texts, in conversations of several turns; some system turns are empty."""
    turns = [message("system", inventor.one_of("", " ", inventor.odd()))]
    for _ in range(1 + inventor.below(3)):
        turns += [message("user", inventor.odd()), message("assistant", inventor.odd())]
    return {"messages": turns[inventor.below(2) :]}


def answers_in_a_row(inventor: Inventor) -> Row:
    """Several assistant turns behind one another, and a user's turn at the end."""
    turns = [message("user", inventor.text())]
    turns += [message("assistant", inventor.text()) for _ in range(1 + inventor.below(3))]
    turns += [message("user", inventor.text())] * inventor.below(2)
    return {"messages": turns}


def sharegpt(inventor: Inventor) -> Row:
    turns = []
    for _ in range(1 + inventor.below(3)):
        turns.append({"from": inventor.one_of("human", "user"), "value": inventor.text()})
        names = ["gpt", "assistant", "chatgpt", "bing", "bard", "model", "function_call"]
        turns.append({"from": inventor.one_of(*names), "value": inventor.text()})
        if inventor.below(2):
            names = ["observation", "tool", "function_response", "function"]
            turns.append({"from": inventor.one_of(*names), "value": inventor.text()})
            turns.append({"from": "gpt", "value": inventor.text()})
    return {"conversations": turns, "system": inventor.one_of("", "  ", inventor.text())}


def tool_calls(inventor: Inventor, numbers: tuple[float, ...] = (1, 2.5, -0.125)) -> Row:
    """OpenAI's calls; JSON of every kind of value in an order that is not the alphabet's."""
    arguments = {"zeta": inventor.text(), "alpha": [*numbers, True, None, {}, []], "b": {"a": "é"}}
    call = {"type": "function", "function": {"name": "look_up", "arguments": arguments}}
    parameters = {"type": "object", "properties": {"zeta": {"type": "string"}}, "a": 1.0}
    tool = {"name": "look_up", "description": inventor.text(), "parameters": parameters}
    tools = [{"type": "function", "function": tool}] * inventor.below(3)
    turns = [
        message("user", inventor.text()),
        {"role": "assistant", "content": inventor.one_of(None, ""), "tool_calls": [call]},
        message("tool", inventor.text(), name="look_up", tool_call_id="1"),
        message("assistant", inventor.text(), tool_calls=None),
    ]
    return {"messages": turns, "tools": inventor.one_of(tools, json.dumps(tools))}


def tool_numbers(inventor: Inventor) -> Row:
    """Numbers that JSON writers print differently."""
    return tool_calls(inventor, (1e22, -3e-7, 1.0, 10**17, 123456789.0, 1e16, 0.1 + 0.2, -0.0))


def renamed(inventor: Inventor) -> Row:
    return {"stem": inventor.text(), "first": "yes", "second": "no", "key": inventor.one_of(*"AB")}


def write_json_lines(path: Path, rows: list[Row]) -> None:
    """Without escapes, so that line separators stand in the texts as they are."""
    compression = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    with pyarrow.output_stream(str(path), compression=compression) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def write_json(path: Path, rows: list[Row]) -> None:
    """With escapes, which are surrogates for code points above U+FFFF."""
    path.write_text(json.dumps(rows, indent=2))


def write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[Row]) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


FILES: dict[str, Callable[[Inventor], Row]] = {
    "arc.jsonl": arc,
    "arc.parquet": arc,
    "openbookqa.parquet": openbookqa,
    "commonsenseqa.jsonl": commonsenseqa,
    "mmlu.parquet": mmlu,
    "mmlu.csv": mmlu_csv,
    "sciq.json": sciq,
    "dream.jsonl": dream,
    "dream.parquet": dream,
    "options.jsonl": options_list,
    "openai-weights.jsonl": openai_weights,
    "openai-weights.parquet": openai_weights,
    "loss-weights.json": loss_weights,
    "alpaca-history.json": alpaca_history,
    "alpaca-history.parquet": alpaca_history,
    "instances.jsonl": instances,
    "trl.jsonl": trl,
    "trl.parquet": trl,
    "dolly.jsonl": dolly,
    "openorca.parquet": openorca,
    "question-answer.csv": question_answer,
    "samsum.csv": samsum,
    "xsum.jsonl.gz": xsum,
    "prompt-completion.jsonl": prompt_completion,
    "prompt-completion.jsonl.zst": prompt_completion,
    "prompt-completion.csv": prompt_completion,
    "odd-text.jsonl": odd_text,
    "odd-text.json": odd_text,
    "answers-in-a-row.jsonl": answers_in_a_row,
    "sharegpt.jsonl": sharegpt,
    "sharegpt.parquet": sharegpt,
    "tool-calls.jsonl": tool_calls,
    "tool-numbers.jsonl": tool_numbers,
    "renamed.csv": renamed,
}
WRITERS = {".json": write_json, ".csv": write_csv, ".parquet": write_parquet}


def write_files(folder: Path, names: Iterable[str] = FILES) -> None:
    """Writes files by their names; the same rows every time."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        inventor = Inventor(name)
        rows = [FILES[name](inventor) for _ in range(ROWS)]
        WRITERS.get(Path(name).suffix, write_json_lines)(folder / name, rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write_files(Path(sys.argv[1]))
