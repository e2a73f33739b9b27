"""Plays the hub for a fetch of two tiny revisions of a model: `python plant.py [WORKSPACE]`.

Afterwards the core's workspace has both whole, with manifests, and needs no hub any more. Without WORKSPACE
nothing is fetched. It prints {"revisions": [older, newer], "changed": …}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fakes.hub import Hub
from tests.fakes.hub.content import tiny_safetensors

REPO = "example/tiny-summarizer"


def main(workspaces: list[str]) -> None:
    """Have two revisions of the model in a workspace, if one is named."""
    with Hub() as hub:
        repository = hub.repository(REPO)
        revisions = [repository.commit(content(seed)) for seed in (1, 2)]
        changed = [fetch(hub.url, space, one) for space in workspaces for one in revisions]
    sys.stdout.write(json.dumps({"revisions": revisions, "changed": any(changed)}) + "\n")


def content(seed: int) -> dict[str, bytes]:
    """Return the files of a revision."""
    return {
        "config.json": b'{"model_type": "t5gemma2"}',
        "LICENSE": "Gemma, ไทย".encode(),
        "model.safetensors": tiny_safetensors(300_000, seed=seed),
        "1_Pooling/config.json": b"{}",
        "pytorch_model.bin": b"a pickle, which is left out",
    }


def fetch(url: str, workspace: str, revision: str) -> bool:
    """Have maw fetch one revision, and return whether it had to."""
    program = Path(sys.executable).with_name("maw")
    argv = [str(program), "weights", "fetch", REPO, "--revision", revision, "--json"]
    environment = {**os.environ, "HF_ENDPOINT": url, "MAW_WORKSPACE": workspace}
    answer = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, check=True)
    return any(one["fetched"] for one in json.loads(answer.stdout)["files"])


if __name__ == "__main__":
    main(sys.argv[1:])
