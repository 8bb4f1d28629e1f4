"""Prompt-weighted fine-tuning and evaluation with PyTorch, transformers and peft, on one GPU.

    peer_gpu.py init  --init-config FILE --out DIR            random weights of a config.json
    peer_gpu.py train --model DIR --data FILE [--layout packed] ...    one JSON line a step
    peer_gpu.py eval  --model DIR --data FILE [--batch 64] ...         one JSON line a question

Precisions: f32 (no TF32), tf32, autocast (f32 weights, bf16 autocast), bf16 (bf16 weights; adapters
stay f32 under autocast). Layouts: padded (each batch to its longest sequence) or packed (sequences
one after another in one row, attention inside each; 16-bit only). Timed steps never wait for the
GPU between them; the time includes preparing the data and excludes printing.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

import packed_attention
from layouts import COMPLETION, PROMPT, Batch, lay_out
from questions import (
    Example,
    choose,
    fail,
    letter_tokens,
    load_tokenizer,
    pack,
    read_examples,
)
from timing import is_gpu, mark, peak_gpu_bytes, seconds_between, synchronize
from training import add_adapters, add_options, make_optimizer, print_line, set_learning_rate


@dataclass(frozen=True)
class Targets:
    """The tokens whose loss is computed, flat: their losses, weights and roles."""

    losses: torch.Tensor
    weights: torch.Tensor
    roles: torch.Tensor


def weight_type(options: argparse.Namespace) -> torch.dtype:
    return torch.bfloat16 if options.precision == "bf16" else torch.float32


def autocast(options: argparse.Namespace, is_enabled: bool) -> torch.autocast:
    device = options.device.split(":")[0]
    return torch.autocast(device, dtype=torch.bfloat16, enabled=is_enabled)


def load_model(options: argparse.Namespace) -> PreTrainedModel:
    """The model on the device, with the layout's attention and, with --nf4, a 4-bit base."""
    if options.precision == "tf32":
        torch.set_float32_matmul_precision("high")
    if options.layout == "packed":
        packed_attention.register(is_gpu(options))
        if is_gpu(options) and options.precision in ("f32", "tf32"):
            fail("packed attention is 16-bit only; give --layout padded with this precision")
    # Straight to the GPU, tensor by tensor.
    places = dict(device_map={"": options.device}) if options.nf4 or is_gpu(options) else {}
    if options.nf4:
        from transformers import BitsAndBytesConfig

        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16
            if options.precision in ("autocast", "bf16")
            else torch.float32,
        )
        places |= dict(quantization_config=config)
    model = LlamaForCausalLM.from_pretrained(
        options.model,
        dtype=weight_type(options),
        attn_implementation=packed_attention.NAME if options.layout == "packed" else "sdpa",
        **places,
    )
    model.config.use_cache = False
    return model if places else model.to(options.device)


def compile_layers(base: PreTrainedModel, options: argparse.Namespace) -> None:
    if options.compile:
        for layer in base.model.layers:
            # Once for all lengths, where they are not rounded to few.
            layer.compile(dynamic=options.multiple == 1)


def hidden_states(base: PreTrainedModel, batch: Batch) -> torch.Tensor:
    return base.model(
        input_ids=batch.token_ids,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=False,
    ).last_hidden_state


def targets(
    base: PreTrainedModel, hidden: torch.Tensor, batch: Batch, options: argparse.Namespace
) -> Targets:
    """The losses of all targets, or with `--rows weighted` of those that weigh something."""
    by_role = torch.tensor([0.0, options.plw, 1.0], device=options.device)
    hidden = hidden[:, :-1].flatten(0, 1)
    tokens, roles = batch.token_ids[:, 1:].flatten(), batch.roles[:, 1:].flatten()
    weights = by_role[roles]
    if options.rows == "weighted":
        kept = (weights > 0).nonzero().squeeze(1)
        hidden, tokens, roles, weights = hidden[kept], tokens[kept], roles[kept], weights[kept]
    head = base.get_output_embeddings()
    if options.liger:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        losses = LigerFusedLinearCrossEntropyLoss(reduction="none")(head.weight, hidden, tokens)
    else:
        logits = head(hidden).float()
        losses = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    return Targets(losses, weights, roles)


def add_gradients(
    base: PreTrainedModel, rows: list[list[Example]], options: argparse.Namespace
) -> torch.Tensor:
    """Adds a step's gradients; sums the loss, and of prompt and completion losses and counts."""
    is_mixed = options.precision == "autocast" or (options.precision == "bf16" and options.lora)
    size = -(-len(rows) // options.micro_batches)
    parts = [sum(rows[first : first + size], []) for first in range(0, len(rows), size)]
    total_weight = sum(
        options.plw * (example.completion_start - 1)
        + len(example.token_ids)
        - example.completion_start
        for part in parts
        for example in part
    )
    sums = torch.zeros(5, device=options.device)
    for part in parts:
        batch = lay_out(part, options)
        with autocast(options, bool(is_mixed)):
            computed = targets(base, hidden_states(base, batch), batch, options)
        loss = (computed.losses * computed.weights).sum() / total_weight
        loss.backward()
        with torch.no_grad():
            terms = [loss]
            for role in (PROMPT, COMPLETION):
                counted = computed.roles == role
                terms += [(computed.losses * counted).sum(), counted.sum()]
            sums += torch.stack([term.detach().float() for term in terms])
    return sums


def longest(examples: list[Example]) -> int:
    """Tokens of the longest example, or some more: the next power of two."""
    lengths = (len(example.token_ids) for example in examples)
    return 1 << (max(lengths, default=1) - 1).bit_length()


def prepare_training(options: argparse.Namespace) -> tuple[PreTrainedModel, PreTrainedModel]:
    """The model to train, and the Llama inside it where adapters wrap it."""
    torch.manual_seed(options.seed)
    model = load_model(options)
    if options.lora:
        model = add_adapters(model, options.lora, options.save_init)
    base = model.get_base_model() if options.lora else model
    if options.checkpointing:
        base.gradient_checkpointing_enable(dict(use_reentrant=False))
    # With --compile the layers then are all alike, the first one included, and compiled once.
    if options.lora and (options.checkpointing or options.compile):
        base.enable_input_require_grads()
    compile_layers(base, options)
    model.train()
    return model, base


def train(options: argparse.Namespace) -> None:
    model, base = prepare_training(options)
    tokenizer = load_tokenizer(options.tokenizer or options.model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(parameters, options, fused=is_gpu(options))
    examples = read_examples(
        options.data, tokenizer, options.max_len, options.limit, options.skip_rows
    )
    options.longest = longest(examples)
    rows = pack(examples, options.pack)
    firsts = range(0, len(rows) - options.batch + 1, options.batch)
    steps = [rows[first : first + options.batch] for first in firsts][: options.steps]
    results = []
    began = 0.0
    marks = [mark(options)]
    for step, taken in enumerate(steps):
        if step == options.skip:
            synchronize(options)
            began = time.perf_counter()
        rate = set_learning_rate(optimizer, options, step)
        sums = add_gradients(base, taken, options)
        norm = torch.nn.utils.clip_grad_norm_(parameters, options.clip or math.inf)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        taken_examples = sum(taken, [])
        tokens = sum(len(example.token_ids) for example in taken_examples)
        results.append((sums, norm, rate, tokens, len(taken_examples)))
        marks.append(mark(options))
    synchronize(options)
    seconds = time.perf_counter() - began
    for step, (sums, norm, rate, tokens, questions) in enumerate(results):
        loss, prompt, prompts, completion, completions = sums.tolist()
        print_line(
            step=step + 1,
            loss=loss,
            prompt_loss=prompt / prompts if prompts else None,
            completion_loss=completion / completions if completions else None,
            grad_norm=norm.item(),
            lr=rate,
            tokens=tokens,
            questions=questions,
            seconds=seconds_between(marks[step], marks[step + 1]),
        )
    summarize_training(results[options.skip :], seconds, options)


def summarize_training(timed: list[tuple], seconds: float, options: argparse.Namespace) -> None:
    print_line(
        summary=True,
        steps_timed=len(timed),
        seconds=seconds if timed else None,
        tokens_per_second=sum(step[3] for step in timed) / seconds if timed else None,
        questions_per_second=sum(step[4] for step in timed) / seconds if timed else None,
        peak_memory_bytes=peak_gpu_bytes(options),
        device=torch.cuda.get_device_name() if is_gpu(options) else "cpu",
        torch=torch.__version__,
        transformers=transformers.__version__,
        settings=vars(options),
    )


@torch.no_grad()
def evaluate(options: argparse.Namespace) -> None:
    tokenizer = load_tokenizer(options.tokenizer or options.model)
    model = load_model(options).eval()
    compile_layers(model, options)
    right = total = tokens = timed = 0
    began = 0.0
    examples = read_examples(
        options.data, tokenizer, options.max_len, options.limit, options.skip_rows
    )
    options.longest = longest(examples)
    prompts = [
        replace(example, token_ids=example.token_ids[: example.completion_start])
        for example in examples
    ]
    letters = letter_tokens(prompts[0].row, tokenizer) if prompts else []
    for number, first in enumerate(range(0, len(prompts), options.batch)):
        if number == options.skip:
            synchronize(options)
            began = time.perf_counter()
        part = prompts[first : first + options.batch]
        batch = lay_out(part, options)
        with autocast(options, options.precision == "autocast"):
            hidden = hidden_states(model, batch)
        logits = model.get_output_embeddings()(hidden[batch.last_tokens])
        for example, row in zip(part, logits.float().cpu()):
            scores = [row[letter].item() for letter in letters]
            choice, answer = choose(scores), example.row["answer"]
            right, total = right + (choice == answer), total + 1
            if number >= options.skip:
                timed, tokens = timed + 1, tokens + len(example.token_ids)
            print_line(
                example_id=example.row["example_id"], answer=answer, choice=choice, logits=scores
            )
    synchronize(options)
    seconds = time.perf_counter() - began
    print_line(
        summary=True,
        accuracy=right / total if total else None,
        questions=total,
        questions_timed=timed,
        tokens_per_second=tokens / seconds if timed else None,
        questions_per_second=timed / seconds if timed else None,
        peak_memory_bytes=peak_gpu_bytes(options),
    )


def init(options: argparse.Namespace) -> None:
    """Writes a model of random weights in the Hugging Face layout."""
    torch.manual_seed(options.seed)
    config = LlamaConfig.from_json_file(options.init_config)
    with torch.device(options.device):
        model = LlamaForCausalLM._from_config(config, dtype=weight_type(options))
    model.save_pretrained(options.out, max_shard_size="4GB")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["init", "train", "eval"])
    parser.add_argument("--model", help="directory in the Hugging Face layout")
    parser.add_argument("--tokenizer", help="directory of tokenizer.json, where the model has none")
    parser.add_argument("--data", help="parquet file in RACE's columns")
    parser.add_argument("--init-config", help="config.json of the model that init makes")
    parser.add_argument("--out", help="directory where init leaves the model")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["f32", "tf32", "autocast", "bf16"], default="bf16")
    parser.add_argument("--layout", choices=["padded", "packed"], default="packed")
    parser.add_argument(
        "--rows",
        choices=["all", "weighted"],
        default="weighted",
        help="tokens for which logits are computed: all, or those whose loss weighs something",
    )
    parser.add_argument(
        "--multiple",
        type=int,
        default=1,
        help="round a batch's tokens up to a multiple of this: fewer shapes for --compile",
    )
    add_options(parser)
    parser.add_argument(
        "--pack", type=int, help="packs of at most so many tokens, which --batch then counts"
    )
    parser.add_argument("--batch", type=int, default=16, help="examples of a step, or rows")
    parser.add_argument("--micro-batches", type=int, default=1, help="parts of an optimizer step")
    parser.add_argument("--nf4", action="store_true", help="4-bit base weights (bitsandbytes)")
    parser.add_argument("--liger", action="store_true", help="Liger's fused cross-entropy")
    parser.add_argument("--compile", action="store_true", help="compile the layers")
    parser.add_argument("--checkpointing", action="store_true", help="recompute the layers")
    parser.add_argument("--skip", type=int, default=5, help="steps (batches) not timed")
    parser.add_argument("--skip-rows", type=int, default=0, help="rows left out before the first")
    parser.add_argument("--limit", type=int, default=4000, help="rows read")
    options = parser.parse_args()
    needed = ["init_config", "out"] if options.command == "init" else ["model", "data"]
    for name in needed:
        if getattr(options, name) is None:
            parser.error(f"{options.command} needs --{name.replace('_', '-')}")
    return options


def main() -> None:
    options = parse_options()
    {"init": init, "train": train, "eval": evaluate}[options.command](options)


if __name__ == "__main__":
    main()
