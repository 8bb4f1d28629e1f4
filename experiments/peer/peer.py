"""Prompt-weighted fine-tuning and evaluation with PyTorch, transformers and peft, on a CPU.

    peer.py train --model DIR --data FILE [--plw 0.1] [--steps 20] ...   one JSON line a step
    peer.py eval  --model DIR --data FILE [--limit 200]                  one JSON line a question

Both end with a summary line. `cargo xtask parity` compares plw's values with these, and
`cargo xtask bench` its speed. Batches are padded to their longest sequence; weights are f32 without
--dtype.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM, PreTrainedModel

from nf4 import round_weights
from questions import LETTERS, Example, choose, letter_tokens, load_tokenizer, read_examples
from training import (
    add_adapters,
    add_options,
    make_optimizer,
    peak_memory_bytes,
    print_line,
    set_learning_rate,
)


@dataclass(frozen=True)
class Batch:
    """Padded sequences, [rows, tokens]; `prompt` and `completion` are 1 where a token is one."""

    token_ids: torch.Tensor
    attention: torch.Tensor
    prompt: torch.Tensor
    completion: torch.Tensor


def pad(examples: list[Example]) -> Batch:
    """One row a sequence, each as long as the longest."""
    shape = len(examples), max(len(example.token_ids) for example in examples)
    token_ids = torch.zeros(shape, dtype=torch.long)
    attention = torch.zeros_like(token_ids)
    prompt, completion = torch.zeros(shape), torch.zeros(shape)
    for row, example in enumerate(examples):
        length, start = len(example.token_ids), example.completion_start
        token_ids[row, :length] = torch.tensor(example.token_ids)
        attention[row, :length] = 1
        prompt[row, :start] = 1
        completion[row, start:length] = 1
    return Batch(token_ids, attention, prompt, completion)


def batches(examples: list[Example], size: int) -> Iterator[Batch]:
    """Full batches only."""
    for first in range(0, len(examples) - size + 1, size):
        yield pad(examples[first : first + size])


def token_losses(logits: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of each token but the first, [rows, tokens - 1]."""
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), token_ids[:, 1:].flatten(), reduction="none"
    )
    return losses.view(token_ids.shape[0], -1)


def load_model(options: argparse.Namespace) -> PreTrainedModel:
    return LlamaForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))


def autocast(options: argparse.Namespace) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bf16)


def mean(losses: torch.Tensor, counted: torch.Tensor) -> float:
    return ((losses * counted).sum() / counted.sum()).item()


def train_step(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    parameters: list[torch.nn.Parameter],
    batch: Batch,
    options: argparse.Namespace,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A step's objective, the losses of its tokens, and the gradient's norm before clipping."""
    with autocast(options):
        logits = model(input_ids=batch.token_ids, attention_mask=batch.attention).logits
    losses = token_losses(logits, batch.token_ids)
    weight = (options.plw * batch.prompt + batch.completion)[:, 1:]
    loss = (losses * weight).sum() / weight.sum()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(parameters, options.clip or math.inf)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach(), losses.detach(), norm


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    tokenizer = load_tokenizer(options.model)
    model = load_model(options)
    if options.nf4:
        round_weights(model)
    if options.lora:
        model = add_adapters(model, options.lora, options.save_init)
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(parameters, options)
    examples = read_examples(options.data, tokenizer, options.max_len, options.limit)
    timed_tokens = timed_questions = timed_steps = 0
    timed_seconds = 0.0
    for step, batch in enumerate(batches(examples, options.batch)):
        if step == options.steps:
            break
        began = time.perf_counter()
        rate = set_learning_rate(optimizer, options, step)
        loss, losses, norm = train_step(model, optimizer, parameters, batch, options)
        seconds = time.perf_counter() - began
        tokens, questions = int(batch.attention.sum()), batch.token_ids.shape[0]
        print_line(
            step=step + 1,
            loss=loss.item(),
            prompt_loss=mean(losses, batch.prompt[:, 1:]),
            completion_loss=mean(losses, batch.completion[:, 1:]),
            grad_norm=norm.item(),
            lr=rate,
            tokens=tokens,
            questions=questions,
            seconds=seconds,
        )
        if step >= options.skip:
            timed_steps += 1
            timed_tokens += tokens
            timed_questions += questions
            timed_seconds += seconds
    print_line(
        summary=True,
        steps_timed=timed_steps,
        tokens_per_second=timed_tokens / timed_seconds if timed_steps else None,
        questions_per_second=timed_questions / timed_seconds if timed_steps else None,
        peak_memory_bytes=peak_memory_bytes(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
    if options.save:
        model.save_pretrained(options.save)


@torch.no_grad()
def evaluate(options: argparse.Namespace) -> None:
    tokenizer = load_tokenizer(options.model)
    model = load_model(options).eval()
    right = total = tokens = 0
    letters: list[int] = []
    began = time.perf_counter()
    for example in read_examples(options.data, tokenizer, options.max_len, options.limit):
        letters = letters or letter_tokens(example.row, tokenizer)
        prompt = example.token_ids[: example.completion_start]
        with autocast(options):
            logits = model(torch.tensor([prompt]), logits_to_keep=1).logits[0, -1].float()
        scores = [logits[letter].item() for letter in letters]
        choice, answer = choose(scores), example.row["answer"]
        right, total, tokens = right + (choice == answer), total + 1, tokens + len(prompt)
        print_line(
            example_id=example.row["example_id"],
            answer=answer,
            choice=choice,
            logits=scores,
            argmax_is_answer=int(logits.argmax()) == letters[LETTERS.index(answer)],
        )
    seconds = time.perf_counter() - began
    print_line(
        summary=True,
        accuracy=right / total if total else None,
        questions=total,
        tokens_per_second=tokens / seconds,
        questions_per_second=total / seconds,
        peak_memory_bytes=peak_memory_bytes(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["train", "eval"])
    parser.add_argument("--model", required=True, help="directory in the Hugging Face layout")
    parser.add_argument("--data", required=True, help="parquet file in RACE's columns")
    add_options(parser)
    parser.add_argument("--batch", type=int, default=4, help="questions of a step")
    parser.add_argument("--skip", type=int, default=2, help="steps left out of the summary's speed")
    parser.add_argument("--limit", type=int, default=2000, help="rows read")
    parser.add_argument("--save", help="write the trained model or adapter to this directory")
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        default="float32",
        help="type of the weights and of everything computed from them",
    )
    parser.add_argument(
        "--bf16", action="store_true", help="mixed precision: weights as --dtype, bf16 autocast"
    )
    parser.add_argument("--nf4", action="store_true", help="round base weights to 4 bits")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    {"train": train, "eval": evaluate}[options.command](options)


if __name__ == "__main__":
    main()
