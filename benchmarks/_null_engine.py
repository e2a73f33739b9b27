"""An engine that returns at once, to see what everything around an engine costs."""

from __future__ import annotations

from maw.models.engines import Sentence


class Null:
    """Answers with the first line, whatever it says. Only the benchmark registers it."""

    model = "null"

    def summarize(self, text: str, **_: object) -> list[Sentence]:
        """Return the first line of the text."""
        end = text.find("\n") if "\n" in text else len(text)
        return [Sentence(text[:end], 0, end)]
