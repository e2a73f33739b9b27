"""maw: one server and spare notebooks become one small AI cluster."""

__version__ = "0.1.0"
