"""An engine that takes memory until it gets no more."""


class Greedy:
    """Takes memory, and never summarises."""

    model = "greedy-1"

    def summarize(self, *_: object, **__: object) -> list[object]:
        """Take memory without end."""
        kept = []
        while True:
            kept.append(bytearray(50_000_000))
