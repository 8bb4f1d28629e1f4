"""The cases of cases.toml, with their files; and the tokenizers that they name."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]


def shared_folder() -> Path:
    """The folder of data beside the project: PLW_SHARED, else ../shared."""
    return Path(os.environ.get("PLW_SHARED", PROJECT.parent / "shared"))


@dataclass(frozen=True)
class Case:
    """One file, read by both programs with the same flags."""

    name: str
    data: Path
    tokenizer: str
    flags: list[str]
    limit: int | None

    @property
    def title(self) -> str:
        return f"{self.name}: {self.data.name}"


def read_cases(generated: Path) -> list[Case]:
    """All cases; generated files are in the folder `generated`."""
    shared = shared_folder()
    places = {
        "{instructions}": shared / "data/instructions",
        "{race}": shared / "data/race",
        "{generated}": generated,
        "{templates}": HERE / "templates",
    }

    def fill(text: str) -> str:
        for name, place in places.items():
            text = text.replace(name, str(place))
        return text

    table = tomllib.loads((HERE / "cases.toml").read_text(encoding="utf-8"))
    cases = []
    for case in table["case"]:
        files = case["data"] if isinstance(case["data"], list) else [case["data"]]
        flags = [fill(flag) for flag in case.get("flags", [])]
        for file in files:
            tokenizer, limit = case.get("tokenizer", "smollm2"), case.get("limit")
            cases.append(Case(case["name"], Path(fill(file)), tokenizer, flags, limit))
    return cases


def make_tokenizers(model: Path, folder: Path) -> dict[str, Path]:
    """The directories of the tokenizers that cases name; those that are not the model's are made in
    `folder`."""
    trimmed, llama_2 = folder / "trimmed", folder / "llama-2"
    shutil.copytree(model, trimmed, ignore=lambda _, names: [n for n in names if "safe" in n])
    tokenizer = json.loads((trimmed / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["post_processor"] = {
        "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True
    }  # fmt: skip
    (trimmed / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    llama_2.mkdir(parents=True)
    shutil.copy(shared_folder() / "tokenizers/llama2.tokenizer.json", llama_2 / "tokenizer.json")
    special_tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (llama_2 / "tokenizer_config.json").write_text(json.dumps(special_tokens), encoding="utf-8")
    return {"smollm2": model, "trimmed": trimmed, "llama-2": llama_2}
