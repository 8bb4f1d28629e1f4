"""Invented text of all kinds: plain sentences, and what tokenizers and templates may get wrong."""

from __future__ import annotations

import random

WORDS = (
    "river stone cloud number seven window because paper green engine seldom bright music between "
    "harbor little answer winter table quickly pattern remember yellow market thirteen careful"
).split()
# Emoji of one and several code points, combining marks, other scripts, invisible and control
# characters, white space, line ends of three kinds, marks of chat templates and of Jinja.
ODD = [
    "😀", "👩‍👩‍👧‍👦", "🇫🇷", "👍🏽", "é", "e\u0301", "a\u0323\u0302", "ñandú", "Ελλάδα",
    "Москва", "日本語", "한국어", "ไทย", "हिन्दी", "שלום", "مرحبا", "\u202eright to left\u202c",
    "𝔘𝔫𝔦", "𓀀", "ﬁ", "Ⅷ", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u00a0", "\u2003",
    "\u3000", "\u2028", "\u2029", "\u0085", "\t", "\r\n", "\r", "\n\n", "  ", "   \n",
    "\x7f", "\x01", "�", "¡¿", "“curly”", "'single'", '"double"', "back\\slash", "\\n",
    "{{ braces }}", "{% raw %}", "{name}", "100%", "$5", "a_b", "<|im_end|>",
    "<|im_start|>assistant\n", "<|endoftext|>", "<s>", "</s>", "[INST]", "[/INST]",
    "<<SYS>>", "<tool_call>", "<|im_end", "<b>bold</b>", "&amp;", "3.14", "1,000", "007",
]  # fmt: skip
ENDS = ["", "", " ", "  ", "\n", "\r\n", "\t", "\u00a0"]


class Inventor:
    """Invents texts and choices, the same for the same seed."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def sentence(self, words: int = 8) -> str:
        """Plain words."""
        chosen = self.random.choices(WORDS, k=self.random.randint(2, words))
        return " ".join(chosen).capitalize() + self.random.choice(".?!")

    def odd(self) -> str:
        """Words between odd pieces, with white space at either end."""
        pieces = self.random.choices(WORDS + ODD * 2, k=self.random.randint(2, 9))
        text = "".join(piece + self.random.choice(["", " "]) for piece in pieces)
        # A text of white space alone is another case: that of a blank text.
        return self.random.choice(ENDS) + "x" * (not text.strip()) + text + self.random.choice(ENDS)

    def text(self) -> str:
        """One or the other."""
        return self.odd() if self.random.random() < 0.4 else self.sentence(20)

    def options(self, count: int) -> list[str]:
        """Different texts, none of them blank."""
        return [f"{self.text()}{number}" for number in range(count)]

    def below(self, end: int) -> int:
        """A number from 0 up to and without `end`."""
        return self.random.randrange(end)

    def one_of(self, *choices: object) -> object:
        """One of the choices."""
        return self.random.choice(choices)
