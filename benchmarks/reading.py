"""How long reading takes: HTML by trafilatura beside plain lxml, and bytes to clean text."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import lxml.html
import trafilatura

from maw.text.clean import clean
from maw.text.decode import decode
from maw.text.html import html_text
from maw.text.read import read

if TYPE_CHECKING:
    from collections.abc import Callable

THAI = "ระบบคลัสเตอร์ที่บ้านประกอบด้วยเซิร์ฟเวอร์หนึ่งเครื่องและโน้ตบุ๊กอีกสองเครื่อง "
ENGLISH = "The server at home is always on, and the notebooks sleep most of the day. "


def page(size: int = 40_000) -> str:
    """Return an article of about `size` characters, with navigation, a table and a footer."""
    links = "".join(f'<li><a href="/{number}">Section {number}</a></li>' for number in range(30))
    parts, number = [], 0
    while sum(map(len, parts)) < size - 2500:
        number += 1
        parts.append(f"<h2>Part {number}</h2><p>{ENGLISH * 3}<a href='#'>more</a></p><p>{THAI * 3}</p>")
    rows = "".join(f"<tr><td>Item {number}</td><td>{number * 10}</td></tr>" for number in range(20))
    return (
        f"<!DOCTYPE html><html><head><title>A page</title></head><body><nav><ul>{links}</ul></nav>"
        f"<article><h1>A page</h1>{''.join(parts)}<table>{rows}</table></article>"
        f"<footer>Nobody owns this</footer></body></html>"
    )


def figure(name: str, action: Callable[[], object], runs: int = 9) -> None:
    """Print the median milliseconds of `runs` calls, after one that does not count."""
    action()
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        action()
        taken.append(time.perf_counter() - started)
    print(f"{name:58} {statistics.median(taken) * 1000:12.3f} ms", flush=True)


def main() -> None:
    html = page()
    figure(
        f"html {len(html) // 1000} kB, trafilatura alone",
        lambda: trafilatura.extract(html, include_comments=False),
    )
    figure(
        f"html {len(html) // 1000} kB, lxml text_content alone",
        lambda: lxml.html.fromstring(html).text_content(),
    )
    figure(f"html {len(html) // 1000} kB, maw.text.html (both, cleaned)", lambda: html_text(html))
    for words, text in (("English", ENGLISH), ("Thai", THAI)):
        for encoding in ("utf-8", "utf-16") + (("cp874",) if text is THAI else ()):
            raw = ((text + "\n") * (10_000_000 // len((text + "\n").encode(encoding)))).encode(encoding)
            figure(f"decode {words} {encoding} 10 MB", lambda raw=raw: decode(raw, "x").text, 5)
    figure("clean English 10 MB", lambda: clean(ENGLISH * 130_000), 5)
    raw = ((THAI + "\n").encode()) * 45_000
    figure(f"read Thai utf-8 {len(raw) // 1_000_000} MB, whole", lambda: read(raw, "x.txt"), 5)


if __name__ == "__main__":
    main()
