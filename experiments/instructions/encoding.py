"""A rendered example as tokens, each with its role and loss weight; and where a question's answer
is predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conversations import Conversation
from model_tokenizer import ModelTokenizer
from questions import LETTERS, Question
from rendering import Rendered, Renderer, Span
from rows import DataError
from shapes import Example


@dataclass(frozen=True)
class Weights:
    """The loss weight of each role."""

    prompt: float
    completion: float


@dataclass(frozen=True)
class Templates:
    """The turns of a question; None is the default for each question."""

    prompt: str | None
    completion: str | None


@dataclass(frozen=True)
class Answer:
    """The answer's letter, the token of each option's letter in its place, and the position whose
    logits predict it."""

    letter: str
    option_tokens: list[int]
    position: int


@dataclass(frozen=True)
class Encoded:
    """A text and its completions in characters; and its tokens: ids, offsets in characters
    [tokens, 2], whether each is completion, and its loss weight."""

    text: str
    completions: list[Span]
    token_ids: list[int]
    offsets: npt.NDArray[np.int64]
    is_completion: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float32]


def turns_of(question: Question, templates: Templates, option: int) -> Conversation:
    """A question with the letter of an option as the answer."""
    user = {"role": "user", "content": question.prompt(templates.prompt)}
    answer = question.completions(templates.completion)[option]
    return Conversation([user, {"role": "assistant", "content": answer}])


def conversation_of(example: Example, templates: Templates) -> Conversation:
    """The turns of an example; of a question with the right answer."""
    if isinstance(example, Question):
        return turns_of(example, templates, example.answer)
    return example


def encode(renderer: Renderer, rendered: list[Rendered], weights: Weights) -> list[Encoded]:
    """Tokenizes texts, all together, with the roles and weights of their tokens."""
    is_direct = renderer.template is None
    encodings = renderer.model.tokenizer.backend_tokenizer.encode_batch(
        [one.text for one in rendered], add_special_tokens=is_direct
    )
    encoded = []
    for one, encoding in zip(rendered, encodings, strict=True):
        offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
        tokens = append_eos(renderer.model, one, encoding.ids, offsets) if is_direct else None
        one, token_ids, offsets = tokens or (one, encoding.ids, offsets)
        is_completion = lie_in(offsets, one.completions)
        if not is_completion.any():
            raise DataError("the completion has no token")
        of_roles = np.where(is_completion, weights.completion, weights.prompt).astype(np.float32)
        of_turns = np.ones(len(token_ids), np.float32)
        # The first span that holds a token decides.
        for span, weight in reversed(one.weighted):
            of_turns[lie_in(offsets, [span])] = weight
        of_tokens = of_roles * of_turns
        encoded.append(
            Encoded(one.text, one.completions, token_ids, offsets, is_completion, of_tokens)
        )
    return encoded


def lie_in(offsets: npt.NDArray[np.int64], spans: list[Span]) -> npt.NDArray[np.bool_]:
    """Whether each token overlaps one of the spans; one without text is as the token before it."""
    starts, ends = offsets[:, 0], offsets[:, 1]
    overlaps = np.zeros(len(offsets), bool)
    for start, end in spans:
        overlaps |= (starts < end) & (ends > start)
    has_text = ends > starts
    before = np.maximum.accumulate(np.where(has_text, np.arange(len(offsets)), -1))
    return np.where(before >= 0, (overlaps & has_text)[before], False)


def append_eos(
    model: ModelTokenizer, rendered: Rendered, ids: list[int], offsets: npt.NDArray[np.int64]
) -> tuple[Rendered, list[int], npt.NDArray[np.int64]]:
    """Ends a completion by the end-of-sequence token, unless it is the last token already. The
    token's text counts as the completion's."""
    if model.eos is None:
        raise DataError("the model has no end-of-sequence token")
    if ids and ids[-1] == model.eos:
        return rendered, ids, offsets
    end = len(rendered.text)
    text = rendered.text + model.tokenizer.convert_ids_to_tokens(model.eos)

    def longer(span: Span) -> Span:
        return (span[0], len(text)) if span in rendered.completions else span

    rendered = Rendered(
        text,
        [longer(span) for span in rendered.completions],
        [(longer(span), weight) for span, weight in rendered.weighted],
        rendered.conversation,
    )
    return rendered, [*ids, model.eos], np.vstack([offsets, [[end, len(text)]]])


def check_mask(renderer: Renderer, rendered: Rendered, encoded: Encoded) -> None:
    """Compares the roles with transformers' mask where the template marks its completions.

    Tokens without text are left out: the mask decides by their place, the roles by the token before
    them.
    """
    if not rendered.is_whole_mask:
        return
    conversation = rendered.conversation
    masked = renderer.model.tokenizer.apply_chat_template(
        conversation.turns,
        tools=conversation.tools,
        chat_template=renderer.template,
        return_assistant_tokens_mask=True,
        return_dict=True,
        **renderer.model.special_tokens,
    )
    has_text = encoded.offsets[:, 1] > encoded.offsets[:, 0]
    mask = np.array(masked["assistant_masks"], bool)
    is_equal = masked["input_ids"] == encoded.token_ids
    if not is_equal or (mask != encoded.is_completion)[has_text].any():
        raise AssertionError(f"transformers' mask differs from the roles of {encoded.text!r}")


def find_answer(
    renderer: Renderer, question: Question, templates: Templates, encoded: Encoded
) -> Answer | None:
    """The one token in which a question's text differs from letter to letter; None where the
    completion does not hold the answer."""
    if templates.completion is not None and "{answer}" not in templates.completion:
        return None
    options = range(len(question.options))
    texts = [renderer.render(turns_of(question, templates, option)).text for option in options]
    tokenizer = renderer.model.tokenizer.backend_tokenizer
    encodings = tokenizer.encode_batch(texts, add_special_tokens=renderer.template is None)
    ids = [encoding.ids for encoding in encodings]
    if len({len(one) for one in ids}) != 1:
        raise DataError("the letters of the options do not differ in one token")
    differing = [at for at, tokens in enumerate(zip(*ids, strict=True)) if len(set(tokens)) > 1]
    option_tokens = [one[differing[0]] for one in ids] if differing else []
    if len(differing) != 1 or len(set(option_tokens)) != len(ids) or differing == [0]:
        raise DataError("the letters of the options do not differ in one token")
    (index,) = differing
    if encoded.token_ids[index] != option_tokens[question.answer]:
        raise DataError("the answer's token is not where the options differ")
    return Answer(LETTERS[question.answer], option_tokens, index - 1)
