"""Writes a tiny GGUF of the architecture gemma2 with random weights: a real file, for real llama.cpp.

It has Gemma 2's own template, byte fallback and Thai letters in its vocabulary; what it says means nothing.
    python tests/fakes/models/tiny_gemma2.py OUT.gguf
"""

from __future__ import annotations

import string
import sys
from pathlib import Path

import gguf
import numpy as np

# Gemma 2's own: no system role, turns strictly alternate, the assistant is called model.
TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
WORDS = ("▁the", "▁summary", "▁text", "▁server", "▁is", "▁of", "model", "user", "▁สรุป", "ข้อความ")
EMBEDDING, FEED_FORWARD, LAYERS, HEADS, SHARED_HEADS, WIDTH = 64, 128, 2, 2, 1, 32
CONTEXT = 8192


def vocabulary() -> tuple[list[bytes], list[float], list[int]]:
    """Return the pieces, their scores and kinds."""
    kind = gguf.TokenType
    found: dict[bytes, tuple[float, int]] = {}
    for control in ("<pad>", "<eos>", "<bos>"):
        found[control.encode()] = (0.0, kind.CONTROL)
    found[b"<unk>"] = (0.0, kind.UNKNOWN)
    for control in ("<start_of_turn>", "<end_of_turn>"):
        found[control.encode()] = (0.0, kind.CONTROL)
    for byte in range(256):
        found[f"<0x{byte:02X}>".encode()] = (0.0, kind.BYTE)
    thai = [chr(code) for code in range(0x0E01, 0x0E5C) if code not in range(0x0E3B, 0x0E3F)]
    for number, letter in enumerate(["▁", *string.printable.strip(), "\n", *thai]):
        found.setdefault(letter.encode(), (-1000.0 - number, kind.NORMAL))
    # A piece of several letters is only reached by joining two that are there.
    for word in WORDS:
        for end in range(2, len(word) + 1):
            found.setdefault(word[:end].encode(), (-1.0 - len(found), kind.NORMAL))
    scores, kinds = zip(*found.values(), strict=True)
    return list(found), list(scores), [int(one) for one in kinds]


def write(path: Path, *, context: int = CONTEXT, seed: int = 0) -> None:
    """Given a path, write the model there."""
    pieces, scores, kinds = vocabulary()
    writer = gguf.GGUFWriter(str(path), "gemma2")
    writer.add_name("tiny random gemma2")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(context)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(SHARED_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_key_length(WIDTH)
    writer.add_value_length(WIDTH)
    writer.add_attn_logit_softcapping(50.0)
    writer.add_final_logit_softcapping(30.0)
    writer.add_sliding_window(4096)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_eot_token_id(pieces.index(b"<end_of_turn>"))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in tensors(len(pieces), np.random.default_rng(seed)).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors(pieces: int, chance: np.random.Generator) -> dict[str, np.ndarray]:
    """Given the size of the vocabulary, return all weights. Numpy's order of a shape is (out, in)."""

    def noise(*shape: int) -> np.ndarray:
        return chance.normal(0, 0.15, shape).astype(np.float32)

    def even(value: float) -> np.ndarray:
        # GGUF keeps Gemma's norms as one plus the weight.
        return np.full((EMBEDDING,), value, np.float32)

    found = {"token_embd.weight": noise(pieces, EMBEDDING), "output_norm.weight": even(1)}
    for layer in range(LAYERS):
        shapes = {
            "attn_q": (HEADS * WIDTH, EMBEDDING),
            "attn_k": (SHARED_HEADS * WIDTH, EMBEDDING),
            "attn_v": (SHARED_HEADS * WIDTH, EMBEDDING),
            "attn_output": (EMBEDDING, HEADS * WIDTH),
            "ffn_gate": (FEED_FORWARD, EMBEDDING),
            "ffn_up": (FEED_FORWARD, EMBEDDING),
            "ffn_down": (EMBEDDING, FEED_FORWARD),
        }
        # With tied embeddings and small norms it would echo its input for ever.
        norms = {"attn_norm": 1, "ffn_norm": 1, "post_attention_norm": 4, "post_ffw_norm": 4}
        found |= {f"blk.{layer}.{name}.weight": noise(*shape) for name, shape in shapes.items()}
        found |= {f"blk.{layer}.{name}.weight": even(value) for name, value in norms.items()}
    return found


if __name__ == "__main__":
    write(Path(sys.argv[1]))
