"""The tokenizer, special tokens and chat template of a directory in the Hugging Face layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from rows import DataError

BUILT_IN = Path(__file__).resolve().parents[2] / "crates/data/templates"


@dataclass(frozen=True)
class ModelTokenizer:
    """A tokenizer, the template's variables (`bos_token` and so on), and the token that ends a
    text."""

    tokenizer: PreTrainedTokenizerFast
    special_tokens: dict[str, str]
    eos: int | None


def load_tokenizer(directory: Path) -> ModelTokenizer:
    """Reads tokenizer.json as it is: no class of transformers changes its parts or adds tokens."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise DataError(f"{directory} has no tokenizer.json; give a directory that has one")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path))
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    special_tokens = {}
    for name in ["special_tokens_map.json", "tokenizer_config.json"]:
        for role, token in _json(directory / name).items():
            content = token.get("content") if isinstance(token, dict) else token
            if role.endswith("_token") and isinstance(content, str):
                special_tokens[role] = content
    eos = _json(directory / "config.json").get("eos_token_id")
    if "eos_token" in special_tokens:
        eos = tokenizer.backend_tokenizer.token_to_id(special_tokens["eos_token"])
    return ModelTokenizer(tokenizer, special_tokens, eos[0] if isinstance(eos, list) else eos)


def load_template(choice: str, directory: Path, tokenizer: ModelTokenizer) -> str | None:
    """The template `model`, one that is built into plw, or a file's; None for `none`."""
    if choice == "none":
        return None
    if choice != "model":
        built_in = BUILT_IN / f"{choice}.jinja"
        if built_in.is_file():
            # The Llama 2 template names these two, whatever the directory knows.
            for role, token in [("bos_token", "<s>"), ("eos_token", "</s>")]:
                tokenizer.special_tokens.setdefault(role, token)
        return (built_in if built_in.is_file() else Path(choice)).read_text(encoding="utf-8")
    file = directory / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = _json(directory / "tokenizer_config.json").get("chat_template")
    if not isinstance(template, str):
        raise DataError(f"{directory} has no chat template; give another with --chat-template")
    return template


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
