"""Runs one command with a limit on its time; what it printed outlives it, and so do its reasons."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


class Failure(Exception):
    """A command that failed or took too long, with the end of its log."""


@dataclass(frozen=True)
class Finished:
    """What a command printed, and the most memory that it held."""

    text: str
    peak_bytes: int


class Budget:
    """The time that a whole script may take."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        return self.end - time.monotonic()


def environment_of(command: list, more: dict[str, str]) -> dict[str, str]:
    """This program's environment; plw's own programs get the library that stands for LLVM.

    Python tells where it is when a signal ends it."""
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1", **more}
    if str(command[0]) != sys.executable and "LLVM_STUB" in environment:
        environment["LD_PRELOAD"] = environment["LLVM_STUB"]
    return environment


def start(command: list, output: Path, log: Path, **environment: str) -> subprocess.Popen:
    """Starts a command as a process group of its own, so that its children can be ended too."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w") as stdout, log.open("w") as stderr:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=environment_of(command, environment),
            process_group=0,
        )


def end(process: subprocess.Popen) -> None:
    """Ends a command and its children, and gives it a moment to say where it was."""
    try:
        process.send_signal(signal.SIGABRT)
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            pass
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def last_lines(files: list[Path], count: int = 12) -> str:
    lines = [
        line.rstrip()
        for file in files
        for line in file.read_text(errors="replace").splitlines()
        if line.strip()
    ]
    return "\n".join(lines[-count:])


def wait(process: subprocess.Popen, seconds: float) -> int:
    """Waits for a command and returns the most bytes of memory that it held."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_maxrss * 1024
        time.sleep(0.01)
    raise subprocess.TimeoutExpired(process.args, seconds)


def run(command: list, log: Path, seconds: float, budget: Budget, **environment: str) -> Finished:
    """Runs a command to its end; fails at the limit or the budget's."""
    limit = min(seconds, budget.left())
    if limit <= 1:
        raise Failure("not run: no time left")
    output = log.with_suffix(".out")
    process = start(command, output, log, **environment)
    try:
        peak_bytes = wait(process, limit)
    except subprocess.TimeoutExpired:
        end(process)
        raise Failure(f"ended after {limit:.0f} s:\n{last_lines([output, log])}") from None
    except BaseException:
        end(process)
        raise
    if process.returncode != 0:
        words = f"{command[0]} ended with {process.returncode}"
        raise Failure(f"{words}:\n{last_lines([output, log])}")
    return Finished(output.read_text(), peak_bytes)
