"""``/etc/network/interfaces``: some cards are set up anew, everything else stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maw.mirror.edit_model import BEGIN, END
from maw.mirror.network_plan import DHCP, DOWN, MANUAL, STATIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from maw.mirror.network_plan import Card

# What begins something new in that file, beside `auto` and `allow-…`.
_SECTIONS = frozenset(
    {"iface", "mapping", "source", "source-directory", "no-auto-down", "no-scripts", "rename", "template"}
)
_OF_THE_ADDRESS = frozenset(
    {
        "address",
        "broadcast",
        "dns-nameserver",
        "dns-nameservers",
        "gateway",
        # A card of the original's hardware address would disturb the original.
        "hwaddress",
        "netmask",
        "network",
        "pointopoint",
    }
)
_COMMANDS = frozenset({"up", "down", "pre-up", "post-up", "pre-down", "post-down"})


def rewrite(text: str, cards: Sequence[Card]) -> tuple[str, list[str]]:
    """Given the file's text and cards, return it with these set up, and the lines that were dropped.

    Stanzas of other cards, comments and options that are not of the old address stay.
    """
    return _Rewriter(text, cards).result()


def _logical_lines(text: str) -> Iterator[str]:
    """Give the file's lines, each with those that a backslash joins to it."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    joined: list[str] = []
    for line in lines:
        joined.append(line)
        if not line.endswith("\\"):
            yield "\n".join(joined)
            joined = []
    if joined:
        # A backslash at the very end would join what is written below it.
        yield "\n".join([*joined, ""])


def _without(down: set[str], lines: Iterator[str]) -> Iterator[str]:
    """Give the lines, without these cards in those that name what is started by itself."""
    for line in lines:
        words = line.split()
        kept = [word for word in words if word not in down]
        if not words or not _is_auto(words[0]) or kept == words:
            yield line
        elif kept[1:]:
            yield " ".join(kept)


class _Rewriter:
    """Goes through the file once; `_inside` one of our stanzas, `_keeping` if that stanza stays."""

    def __init__(self, text: str, cards: Sequence[Card]) -> None:
        self._cards = {card.name: card for card in cards}
        down = {card.name for card in cards if card.how == DOWN}
        # First of all, for what stands below such a line falls to the stanza above it when the line goes.
        self._lines = list(_without(down, _logical_lines(text)))
        self._out: list[str] = []
        self._dropped: list[str] = []
        self._written: set[str] = set()
        self._inside = self._keeping = self._in_block = False
        words = [line.split() for line in self._lines]
        self._automatic = {name for one in words if one and _is_auto(one[0]) for name in one[1:]}

    def result(self) -> tuple[str, list[str]]:
        for line in self._lines:
            words = line.split()
            if words and (words[0] in _SECTIONS or _is_auto(words[0])):
                self._end_stanza()
                self._section(line, words)
            elif self._inside:
                self._option(line, words)
            else:
                self._out.append(line)
        self._end_stanza()
        for card in self._cards.values():
            if card.name not in self._written and card.how not in (MANUAL, DOWN):
                if self._out and self._out[-1].strip():
                    self._out.append("")
                self._stanza(card)
                self._out.append("")
        if "lo" not in self._automatic:
            self._out[:0] = ["auto lo", "iface lo inet loopback", ""]
        return "".join(f"{line}\n" for line in self._out), self._dropped

    def _section(self, line: str, words: list[str]) -> None:
        if words[0] == "iface" and len(words) > 1 and words[1] in self._cards:
            self._inside = True
            # A second stanza of a card holds another address of the old network.
            self._keeping = words[2:3] == ["inet"] and words[1] not in self._written
            if self._keeping:
                self._stanza(self._cards[words[1]])
        else:
            self._out.append(line)

    def _stanza(self, card: Card) -> None:
        self._written.add(card.name)
        if card.how != DOWN and card.name not in self._automatic:
            self._out.append(f"auto {card.name}")
        how = card.how if card.how in (DHCP, STATIC) else MANUAL
        self._out.append(f"iface {card.name} inet {how}")
        if card.how == STATIC and card.address is not None:
            # Every version of every ifupdown takes it in two lines.
            self._out.append(f"\taddress {card.address.ip}")
            self._out.append(f"\tnetmask {card.address.netmask}")
            self._out.append(f"\tgateway {card.gateway}")

    def _option(self, line: str, words: list[str]) -> None:
        bare = line.strip(" \t")
        if not words:
            # What a stanza that goes leaves behind is one empty line at most.
            if self._keeping or (self._out and self._out[-1].strip()):
                self._out.append(line)
        elif bare.startswith((BEGIN, END)):
            self._in_block = bare.startswith(BEGIN)
        elif bare.startswith("#"):
            self._out.append(line)
        elif self._keeping and not self._in_block and not _of_the_old_network(words):
            self._out.append(f"\t{bare}")
        elif words[0] not in _OF_THE_ADDRESS:
            self._dropped.append(bare)

    def _end_stanza(self) -> None:
        last = self._out[-1].strip() if self._out else ""
        # A comment at the end speaks of what follows.
        if self._inside and last and not last.startswith("#"):
            self._out.append("")
        self._inside = self._keeping = self._in_block = False


def _is_auto(word: str) -> bool:
    return word == "auto" or word.startswith("allow-")


def _of_the_old_network(words: list[str]) -> bool:
    return words[0] in _OF_THE_ADDRESS or (words[0] in _COMMANDS and bool({"route", "addr"} & set(words)))
