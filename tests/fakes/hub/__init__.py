"""A stand-in of the hub that models come from. It is asked by the real huggingface_hub (HF_ENDPOINT)."""

from tests.fakes.hub.server import Hub, Trouble

__all__ = ["Hub", "Trouble"]
