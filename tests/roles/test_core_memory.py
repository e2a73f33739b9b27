"""The program that systemd asks whether the Oracle's model fits into memory."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.roles.loading import load

PROGRAM = Path(__file__).resolve().parents[2] / "roles" / "core" / "files" / "memory_admission.py"
STRING, LIST, U32, F32 = 8, 9, 4, 6


admission = load(PROGRAM)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _pair(name: str, value: object) -> bytes:
    if isinstance(value, str):
        return _text(name) + struct.pack("<I", STRING) + _text(value)
    if isinstance(value, float):
        return _text(name) + struct.pack("<If", F32, value)
    if isinstance(value, list) and value and isinstance(value[0], str):
        packed = b"".join(_text(one) for one in value)
        return _text(name) + struct.pack("<IIQ", LIST, STRING, len(value)) + packed
    if isinstance(value, list):
        packed = struct.pack(f"<{len(value)}I", *value)
        return _text(name) + struct.pack("<IIQ", LIST, U32, len(value)) + packed
    return _text(name) + struct.pack("<II", U32, value)


def _gguf(pairs: dict[str, object], *, version: int = 3, tail: int = 1000) -> bytes:
    header = b"GGUF" + struct.pack("<IQQ", version, 0, len(pairs))
    return header + b"".join(_pair(*pair) for pair in pairs.items()) + bytes(tail)


# Gemma 2 27B's own figures: config.json of google/gemma-2-27b-it.
GEMMA = {
    "general.architecture": "gemma2",
    "tokenizer.ggml.tokens": ["<pad>", "สวัสดี", "😀"],
    "gemma2.attention.layer_norm_rms_epsilon": 1e-6,
    "gemma2.block_count": 46,
    "gemma2.embedding_length": 4608,
    "gemma2.attention.head_count": 32,
    "gemma2.attention.head_count_kv": 16,
    "gemma2.attention.key_length": 128,
    "gemma2.attention.value_length": 128,
}


def _run(folder: Path, model: bytes, free_kb: int, *more: str) -> subprocess.CompletedProcess[str]:
    path = folder / "โมเดล 27b.gguf"
    path.write_bytes(model)
    meminfo = folder / "meminfo"
    meminfo.write_text(f"MemTotal: 999 kB\nMemAvailable: {free_kb} kB\n")
    argv = [sys.executable, "-I", str(PROGRAM), "--model", str(path), "--context", "8192"]
    argv += ["--meminfo", str(meminfo), "--cgroup", str(folder / "group"), *more]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)


def test_the_cache_of_gemma_2_27b_at_its_whole_context_is_six_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(_gguf(GEMMA))
    # 46 layers, 8,192 tokens, 16 heads, 128 + 128 numbers of two bytes.
    assert admission.cache_bytes(admission.metadata(path), 8192) == 46 * 8192 * 16 * 256 * 2 == 3_087_007_744


def test_a_model_that_fits_is_admitted_with_the_figures(tmp_path: Path) -> None:
    answer = _run(tmp_path, _gguf(GEMMA), 5_000_000)
    assert answer.returncode == 0, answer.stderr
    assert "4111 MB are needed (model 0, 8192 tokens of context 3087, reserve 1024)" in answer.stdout
    assert "5120 MB are free" in answer.stdout


def test_one_that_does_not_fit_is_refused_with_the_figures_and_the_next_step(tmp_path: Path) -> None:
    answer = _run(tmp_path, _gguf(GEMMA), 4_000_000)
    assert answer.returncode == 1
    assert "4111 MB are needed" in answer.stderr
    assert "4096 MB are free" in answer.stderr
    assert "core_oracle_context" in answer.stderr


def test_a_limit_of_the_own_group_counts(tmp_path: Path) -> None:
    group = tmp_path / "group"
    group.mkdir()
    (group / "memory.max").write_text("5000000000\n")
    (group / "memory.current").write_text("1000000000\n")
    answer = _run(tmp_path, _gguf(GEMMA), 9_000_000)
    assert answer.returncode == 1
    assert "4000 MB are free" in answer.stderr
    (group / "memory.max").write_text("max\n")
    assert _run(tmp_path, _gguf(GEMMA), 9_000_000).returncode == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not begin with GGUF"),
        (b"PK\x03\x04" + bytes(100), "does not begin with GGUF"),
        (_gguf(GEMMA)[:200], "cut short"),
        (_gguf(GEMMA, version=9), "version 9"),
        (_gguf({"general.architecture": "gemma2"}), "lacks"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 60), "damaged"),
        (_gguf({"a": ["x"]})[:24] + _text("a") + struct.pack("<IIQ", LIST, STRING, 1 << 60), "damaged"),
        (_gguf({"a": ["x"]})[:24] + _text("a") + struct.pack("<I", 77), "unknown type 77"),
    ],
)
def test_what_is_no_whole_gguf_is_said_so(tmp_path: Path, data: bytes, words: str) -> None:
    answer = _run(tmp_path, data, 9_000_000)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


def test_heads_that_differ_by_layer_are_counted_at_their_most(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(_gguf({**GEMMA, "gemma2.attention.head_count_kv": [4, 16, 8]}))
    assert admission.cache_bytes(admission.metadata(path), 8192) == 3_087_007_744


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_and_no_crash(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m"
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 3) + data)
        with contextlib.suppress(admission.NotGguf):
            admission.metadata(path)
