"""A satellite that is not to be trusted: it greets (or not) and then answers each job with mischief."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import time
import zlib

HELLO = {
    "type": "hello",
    "protocol": 1,
    "version": "0",
    "host": "evil",
    "engines": {"extractive": "extractive-1"},
    "processes": 1,
}


def say(message: object) -> None:
    sys.stdout.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
    sys.stdout.flush()


def result(identifier: str, text: str, **changes: object) -> dict:
    good = {
        "type": "result",
        "id": identifier,
        "engine": "extractive",
        "model": "extractive-1",
        "seconds": 0.1,
        "cpu_seconds": 0.1,
        "sha256": "0" * 64,
        "kind": "text",
        "characters": len(text),
        "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "notes": [],
        "summary": [{"text": text, "start": 0, "end": len(text)}],
    }
    return {**good, **changes}


def main(mode: str) -> None:
    if mode == "banner":
        say("Welcome to Ubuntu!")
    if mode == "protocol":
        say({**HELLO, "protocol": 99})
        return
    if mode == "silent-death":
        sys.stderr.write("no space left for my heart\n")
        sys.exit(7)
    say(HELLO)
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "job":
            answer(mode, message["id"], base64.b64decode(message["data"]))


def answer(mode: str, identifier: str, data: bytes) -> None:
    text, sha256 = data.decode(), hashlib.sha256(data).hexdigest()
    if mode == "garbage":
        say("\x00\x1b[2J not JSON")
    elif mode == "stranger":
        say(result("another job", text))
    elif mode == "endless":
        for _ in range(200):
            sys.stdout.write("x" * 100_000)
        sys.stdout.flush()
        time.sleep(30)
    elif mode == "escape":
        say(
            {
                "type": "error",
                "id": identifier,
                "kind": "\x1b[31m",
                "message": "evil \x1b]0;title\x07 text\nsecond line",
            }
        )
    else:
        packed = b"no zlib" if mode == "unpackable" else zlib.compress(data)
        say({"type": "text", "id": identifier, "data": base64.b64encode(packed).decode()})
        changes = {
            "false-summary": {"summary": [{"text": "All is well.", "start": 0, "end": 12}]},
            "outside": {"summary": [{"text": text, "start": 0, "end": 10**9}]},
            "empty": {"summary": []},
            "not-a-list-of-sentences": {"summary": ["just text"]},
            "other-input": {"sha256": "1" * 64},
            "unpackable": {},
            "other-text": {"text_sha256": "2" * 64},
        }[mode]
        say(result(identifier, text, **{"sha256": sha256, **changes}))


main(sys.argv[1])
