"""An example as one text, and which of its characters are completion or weigh more or less.

Conversations are rendered by transformers' apply_chat_template. A completion begins where the
generation prompt ends and reaches to the end of what the turn adds, or is what the template marks
by `{% generation %}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from conversations import Conversation
from model_tokenizer import ModelTokenizer
from rows import DataError

GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")

Span = tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """A text; the spans of its completions in characters; spans whose tokens are weighted.

    `is_whole_mask` says that the completions are all that the template marks, so that they are what
    transformers' mask says; `conversation` is what was rendered.
    """

    text: str
    completions: list[Span]
    weighted: list[tuple[Span, float]]
    conversation: Conversation
    is_whole_mask: bool = False


class Renderer:
    """Renders conversations by one template, or directly where there is none."""

    def __init__(self, tokenizer: ModelTokenizer, template: str | None, loss_turns: str) -> None:
        self.model = tokenizer
        self.template = template
        self.loss_turns = loss_turns
        self.marks_generation = template is not None and bool(GENERATION.search(template))

    def render(self, conversation: Conversation) -> Rendered:
        """The text and spans of a conversation."""
        targets = conversation.targets(self.loss_turns)
        weights = conversation.weights()
        if self.template is None:
            return self._direct(conversation, weights)
        text = self.text(conversation, conversation.turns)
        answers = conversation.assistant_turns()
        if self.marks_generation:
            marks = self._marks(conversation)
            if len(marks) != len(answers):
                raise DataError(f"the template marks {len(marks)} of {len(answers)} turns")
            spans = dict(zip(answers, marks, strict=True))
        else:
            wanted = {k for k in answers if k in targets or weights[k] != 1}
            spans = {k: self._completion(conversation, k, text) for k in sorted(wanted)}
        # Of a token that lies in two spans, the completion's weight counts.
        weighted = [(spans[k], weights[k]) for k in answers if weights[k] != 1]
        for k, weight in enumerate(weights):
            if weight != 1 and k not in answers:
                weighted.append((self._turn(conversation, k, text), weight))
        completions = [spans[k] for k in targets]
        is_whole_mask = self.marks_generation and targets == answers
        return Rendered(text, completions, weighted, conversation, is_whole_mask)

    def text(self, conversation: Conversation, turns: list[Any], **more: Any) -> str:
        """What the template makes of some turns of a conversation; nothing of no turns, unless a
        generation prompt is asked for."""
        if not turns and not more:
            return ""
        try:
            if not turns:
                # apply_chat_template refuses to render no turns, and a template need not.
                rendered, _ = render_jinja_template(
                    conversations=[[]],
                    tools=conversation.tools,
                    chat_template=self.template,
                    **more,
                    **self.model.special_tokens,
                )
                return rendered[0]
            return self.model.tokenizer.apply_chat_template(
                turns,
                tools=conversation.tools,
                chat_template=self.template,
                tokenize=False,
                **more,
                **self.model.special_tokens,
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise DataError(f"the chat template fails: {error}") from error

    def _completion(self, conversation: Conversation, k: int, text: str) -> Span:
        turns = conversation.turns
        prompt = self.text(conversation, turns[:k], add_generation_prompt=True)
        whole = self.text(conversation, turns[: k + 1])
        return self._prefix(prompt, text), self._prefix(whole, text)

    def _turn(self, conversation: Conversation, k: int, text: str) -> Span:
        turns = conversation.turns
        before = self.text(conversation, turns[:k])
        behind = self.text(conversation, turns[: k + 1])
        return self._prefix(before, text), self._prefix(behind, text)

    def _prefix(self, beginning: str, text: str) -> int:
        """The length of a beginning of the text."""
        if text.startswith(beginning):
            return len(beginning)
        pairs = zip(beginning, text, strict=False)
        at = next((at for at, (left, right) in enumerate(pairs) if left != right), len(text))
        raise DataError(
            f"the beginning of a conversation is rendered otherwise than in the whole, from "
            f"character {at} on: {beginning[at : at + 24]!r} against {text[at : at + 24]!r}"
        )

    def _marks(self, conversation: Conversation) -> list[Span]:
        """What the template marks, in the order of the text."""
        _, marks = render_jinja_template(
            conversations=[conversation.turns],
            tools=conversation.tools,
            chat_template=self.template,
            return_assistant_tokens_mask=True,
            **self.model.special_tokens,
        )
        return marks[0]

    def _direct(self, conversation: Conversation, weights: list[float]) -> Rendered:
        """The completion directly behind the prompt, a system turn and a blank line before it."""
        roles = [turn["role"] for turn in conversation.turns]
        if roles not in (["user", "assistant"], ["system", "user", "assistant"]):
            raise DataError(f"without a chat template the turns cannot be {', '.join(roles)}")
        texts = [turn.get("content") for turn in conversation.turns]
        if not all(isinstance(text, str) for text in texts):
            raise DataError("without a chat template every content must be a text")
        starts = {"system": "", "user": "\n\n" if len(roles) == 3 else "", "assistant": ""}
        text, spans = "", []
        for role, content in zip(roles, texts, strict=True):
            start = len(text)
            text += starts[role] + content
            spans.append((start, len(text)))
        weighted = [(span, one) for span, one in zip(spans, weights, strict=True) if one != 1]
        return Rendered(text, spans[-1:], weighted, conversation)
