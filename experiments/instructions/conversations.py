"""Rows as conversations: the turns that a chat template renders, and which of them count how much.

The forms are those of OpenAI, ShareGPT, Alpaca, Dolly, TRL's prompt and completion, OpenOrca and
pairs of texts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rows import DataError, Row

Turn = dict[str, Any]

# The names of roles in ShareGPT's data, and what a chat template calls them.
ROLES = {
    **dict.fromkeys(["human", "user"], "user"),
    **dict.fromkeys(
        ["gpt", "assistant", "chatgpt", "bing", "bard", "model", "function_call"], "assistant"
    ),
    **dict.fromkeys(["observation", "tool", "function_response", "function"], "tool"),
    "system": "system",
}


@dataclass(frozen=True)
class Conversation:
    """Turns as transformers takes them. Assistant turns before `first_target` are prompt."""

    turns: list[Turn]
    tools: list[Any] | None = None
    first_target: int = 0

    def weights(self) -> list[float]:
        """What each turn multiplies its tokens' loss weights by."""
        return [_weight(turn) for turn in self.turns]

    def assistant_turns(self) -> list[int]:
        return [k for k, turn in enumerate(self.turns) if turn.get("role") == "assistant"]

    def targets(self, loss_turns: str) -> list[int]:
        """The turns that are completions: all assistant turns, or the last one."""
        targets = [k for k in self.assistant_turns() if k >= self.first_target]
        if not targets:
            raise DataError("no turn is the assistant's, so that there is no completion")
        return targets[-1:] if loss_turns == "last" else targets


def _messages(row: Row) -> list[Conversation] | None:
    if not isinstance(row.get("messages"), list):
        return None
    return [Conversation([_turn(turn) for turn in row["messages"]], _tools(row))]


def _sharegpt(row: Row) -> list[Conversation] | None:
    if not isinstance(row.get("conversations"), list):
        return None
    turns = [*_system(row.get("system")), *(_turn(turn) for turn in row["conversations"])]
    return [Conversation(turns, _tools(row))]


def _alpaca(row: Row) -> list[Conversation] | None:
    if not {"instruction", "output"} <= row.keys():
        return None
    turns = _system(row.get("system"))
    for asked, answered in row.get("history") or []:
        turns += _pair(asked, answered)
    turns += _pair(_joined(row["instruction"], row.get("input")), row["output"])
    return [Conversation(turns)]


def _instances(row: Row) -> list[Conversation] | None:
    if "instruction" not in row or not isinstance(row.get("instances"), list):
        return None
    return [
        Conversation(_pair(_joined(row["instruction"], one.get("input")), one["output"]))
        for one in row["instances"]
    ]


def _dolly(row: Row) -> list[Conversation] | None:
    if not {"instruction", "context", "response"} <= row.keys():
        return None
    return [Conversation(_pair(_joined(row["instruction"], row["context"]), row["response"]))]


def _prompt_completion(row: Row) -> list[Conversation] | None:
    name = next((name for name in ["completion", "response"] if name in row), None)
    if "prompt" not in row or name is None:
        return None
    prompt, completion = row["prompt"], row[name]
    if isinstance(prompt, list) and isinstance(completion, list):
        turns = [_turn(turn) for turn in [*prompt, *completion]]
        return [Conversation(turns, _tools(row), first_target=len(prompt))]
    return [Conversation(_pair(prompt, completion))]


def _openorca(row: Row) -> list[Conversation] | None:
    if not {"system_prompt", "question", "response"} <= row.keys():
        return None
    turns = [*_system(row["system_prompt"]), *_pair(row["question"], row["response"])]
    return [Conversation(turns)]


def _question_answer(row: Row) -> list[Conversation] | None:
    if not {"question", "answer"} <= row.keys():
        return None
    return [Conversation(_pair(row["question"], row["answer"]))]


def _summary(row: Row) -> list[Conversation] | None:
    for name, kind in [("dialogue", "dialogue"), ("document", "article")]:
        if name in row and "summary" in row:
            prompt = f"Summarize this {kind}:\n{_text(row[name])}"
            return [Conversation(_pair(prompt, row["summary"]))]
    return None


# Each finds the conversations of a row, of which Alpaca's instances may be several, or None.
Recognize = Callable[[Row], list[Conversation] | None]
# Those that come before questions of several options, and those behind them.
TURNS: list[Recognize] = [_messages, _sharegpt]
TEXTS: list[Recognize] = [
    _alpaca, _instances, _dolly, _prompt_completion, _openorca, _question_answer, _summary,
]  # fmt: skip


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"{value!r} is not a text")
    return value


def _pair(asked: Any, answered: Any) -> list[Turn]:
    user = {"role": "user", "content": _text(asked)}
    return [user, {"role": "assistant", "content": _text(answered)}]


def _system(text: str | None) -> list[Turn]:
    """A system turn, unless the text is missing or blank."""
    return [{"role": "system", "content": text}] if text and text.strip() else []


def _joined(instruction: str, more: str | None) -> str:
    return f"{_text(instruction)}\n{more}" if more and more.strip() else _text(instruction)


def _turn(turn: Turn) -> Turn:
    """A turn with the keys role and content, and all others as they are but for nulls, which
    transformers leaves out too."""
    turn = {key: value for key, value in turn.items() if value is not None}
    role = turn.get("role", turn.get("from"))
    if role is None or ("role" not in turn and role not in ROLES):
        raise DataError(f"the role of a turn is {role!r}; known are {', '.join(ROLES)}")
    others = {key: turn[key] for key in turn if key not in ("role", "from", "content", "value")}
    content = turn.get("content", turn.get("value"))
    content = {} if content is None else {"content": content}
    return {"role": ROLES.get(role, role), **content, **others}


def _tools(row: Row) -> list[Any] | None:
    """Tools are a list or the JSON of one; an empty list or text means that there are none."""
    tools = row.get("tools")
    if isinstance(tools, str):
        tools = json.loads(tools) if tools.strip() else None
    return tools or None


def _weight(turn: Turn) -> float:
    if "weight" in turn and "loss_weight" in turn:
        raise DataError("a turn has both a weight and a loss_weight")
    weight = turn.get("weight", turn.get("loss_weight", 1.0))
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not is_number or not math.isfinite(weight) or weight < 0:
        raise DataError(f"the weight {weight!r} of a turn is not a finite number from 0 on")
    return float(weight)
