"""Measurements: rows of figures that are saved as they come, the memory of the card, the tables."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from command import Budget, Failure

Figures = dict
NO_TIME = "not run: no time left"


def ask_card(query: str) -> str:
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout


def memory_in_use() -> Callable[[], int]:
    """A function that tells the bytes of the first card that are in use."""
    try:
        import pynvml

        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByIndex(0)
        return lambda: pynvml.nvmlDeviceGetMemoryInfo(card).used
    except Exception:  # No such package, no driver: nvidia-smi says the same, more slowly.
        return lambda: int(ask_card("memory.used").split()[0]) * 2**20


class CardMemory:
    """The most memory of the card that was in use, as looked up five times a second."""

    def __init__(self) -> None:
        self.peak: int | None = None
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self) -> None:
        ask = memory_in_use()
        while True:
            try:
                self.peak = max(self.peak or 0, ask())
            except Exception:  # There is no card.
                return
            time.sleep(0.2)

    def reset(self) -> None:
        self.peak = None


def describe_card() -> dict[str, str]:
    try:
        name, driver = ask_card("name,driver_version").splitlines()[0].split(", ")
    except (OSError, IndexError, ValueError, subprocess.TimeoutExpired):
        name, driver = "no NVIDIA card", "none"
    return {"card": name, "driver": driver}


class Measurements:
    """All rows so far. A failure is a row too."""

    def __init__(self, out: Path, budget: Budget) -> None:
        self.out = out
        self.budget = budget
        self.card = describe_card()
        self.memory = CardMemory()
        self.rows: list[dict] = []
        self.lock = threading.Lock()

    def take(self, work: str, side: str, setting: str, measure: Callable[[], Figures]) -> bool:
        """Measures once and keeps the row; whether it succeeded."""
        row = {"work": work, "side": side, "setting": setting, "state": "ok"}
        began = time.monotonic()
        self.memory.reset()
        try:
            row |= measure()
        except Failure as failure:
            row |= {"state": "failed", "message": str(failure)}
            if str(failure).startswith(NO_TIME):
                row["state"] = "not run"
        except Exception as error:  # A fault of this script must not stop the other rows.
            row |= {"state": "failed", "message": f"{type(error).__name__}: {error}"}
        row |= {"seconds": round(time.monotonic() - began, 1), "memory_bytes": self.memory.peak}
        with self.lock:
            self.rows.append(row | self.card)
            self.save()
        print(f"{row['seconds']:6.1f} s  {work}, {side}, {setting}: {row['state']}", flush=True)
        return row["state"] == "ok"

    def save(self) -> None:
        self.out.write_text(json.dumps(self.rows, indent=1))

    def best(self, work: str, side: str, figure: str, word: str = "") -> dict | None:
        """The row with the greatest figure, of those whose setting has the word."""
        rows = [
            row
            for row in self.rows
            if (row["work"], row["side"]) == (work, side)
            and row.get(figure)
            and word in row["setting"]
        ]
        return max(rows, key=lambda row: row[figure], default=None)


# Work of plw, work of the peer, figure, and the parts of the peer's that it must and should be.
BARS = [
    ("small", "small", "tokens_per_second", 1.0, 1.5),
    ("small-shared", "small", "questions_per_second", 2.0, 3.5),
    ("small-eval", "small-eval", "questions_per_second", None, None),
    ("7b", "7b", "tokens_per_second", 0.8, 1.3),
    ("7b-shared", "7b", "questions_per_second", 1.6, 2.5),
    ("7b-recomputed", "7b", "tokens_per_second", None, None),
    ("7b-eval", "7b-eval", "questions_per_second", 1.5, 3.0),
    ("7b-qlora", "7b-qlora", "tokens_per_second", 0.8, 1.3),
]


def cell(value: float | None, unit: float = 1.0, digits: int = 0) -> str:
    return "-" if value is None else f"{value / unit:,.{digits}f}"


def table(rows: list[dict]) -> str:
    """Every measurement, and below the last words of those that failed.

    Memory is that of the whole card, and what PyTorch's tensors held or plw had planned. The start
    is all time outside of the steps: loading, checking and saving.
    """
    lines = [
        "| work | side | setting | tokens/s | questions/s | step ms | card GB | own GB | "
        "start s | first loss | s |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        get = row.get
        own = get("tensor_bytes") or get("planned_bytes")
        lines.append(
            f"| {row['work']} | {row['side']} | {row['setting']} | "
            f"{cell(get('tokens_per_second'))} | {cell(get('questions_per_second'), digits=1)} | "
            f"{cell(get('step_seconds'), 1e-3, 1)} | {cell(get('memory_bytes'), 1e9, 1)} | "
            f"{cell(own, 1e9, 1)} | {cell(get('start_seconds'), digits=1)} | "
            f"{cell(get('first_loss'), digits=4)} | {row['seconds']:.0f} |"
        )
    for row in rows:
        if "message" in row:
            message = row["message"][-700:]
            lines.append(f"\n{row['work']}, {row['side']}, {row['setting']}: {message}")
    return "\n".join(lines)


def bars(found: Measurements) -> str:
    """plw beside the peer's best setting, and of the peer's settings those with autocast alone."""
    lines = [
        "| work | figure | plw | peer | peer's setting | plw / peer | must | aim | "
        "peer with autocast |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for work, peer_work, figure, must, aim in BARS:
        plw = found.best(work, "plw", figure)
        peer = found.best(peer_work, "peer", figure)
        autocast = found.best(peer_work, "peer", figure, "autocast")
        # A work of plw's alone that was not measured is no line of its own.
        if not plw and (not peer or work != peer_work):
            continue
        ratio = plw[figure] / peer[figure] if plw and peer else None
        lines.append(
            f"| {work} | {figure} | {cell(plw and plw[figure], digits=1)} | "
            f"{cell(peer and peer[figure], digits=1)} | {peer['setting'] if peer else '-'} | "
            f"{cell(ratio, digits=2)} | {cell(must, digits=1)} | {cell(aim, digits=1)} | "
            f"{cell(autocast and autocast[figure], digits=1)} |"
        )
    return "\n".join(lines)
