"""What paramiko 4 and 5 lack for commands that end whenever they like.

It drops the name of the signal that ended a command. And it may send data or an end-of-file for
a channel after its own CLOSE of it: two threads race when a command ends before it has read its
input, and sshd then ends the whole connection ("ieof packet referred to nonexistent channel").
Here CLOSE waits for a sender that is at it, and nobody sends after CLOSE.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import paramiko

# Attributes of ours on a channel: the signal's name, and the lock that senders and CLOSE share.
_SIGNAL = "maw_exit_signal"
_SENDING = "maw_sending"
# Seconds that CLOSE waits for a sender; only a sender stuck in a key exchange takes that long.
_PATIENCE = 5.0
# Seconds between looks at a window that stays full.
_TICK = 1.0
# Bytes of one packet, as sshd allows them.
_PACKET = 32_768


def transport_class() -> type[paramiko.Transport]:
    """Return paramiko's transport with these repairs, and with AES-GCM as its first choice."""
    import paramiko
    from paramiko.common import MSG_CHANNEL_CLOSE, MSG_CHANNEL_REQUEST

    def on_request(channel: paramiko.Channel, message: paramiko.Message) -> None:
        position = message.packet.tell()
        if message.get_text() == "exit-signal":
            message.get_boolean()
            setattr(channel, _SIGNAL, message.get_text())
            return
        message.packet.seek(position)
        channel._handle_request(message)  # type: ignore[attr-defined]

    def on_close(channel: paramiko.Channel, message: paramiko.Message) -> None:
        sending: threading.Lock | None = getattr(channel, _SENDING, None)
        held = sending is not None and sending.acquire(timeout=_PATIENCE)
        try:
            channel._handle_close(message)  # type: ignore[attr-defined]
        finally:
            if sending is not None and held:
                sending.release()

    class RepairedTransport(paramiko.Transport):
        # paramiko asks for AES-CTR with a separate MAC first; one pass of GCM costs half of that.
        _preferred_ciphers = (
            "aes128-gcm@openssh.com",
            "aes256-gcm@openssh.com",
            *(name for name in paramiko.Transport._preferred_ciphers if "gcm" not in name),  # type: ignore[attr-defined]
        )
        _channel_handler_table: ClassVar[dict[int, Any]] = {
            **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
            MSG_CHANNEL_REQUEST: on_request,
            MSG_CHANNEL_CLOSE: on_close,
        }

    return RepairedTransport


def prepare(channel: paramiko.Channel) -> paramiko.Channel:
    """Given a channel on which nothing was sent yet, make it ready for `send` and `end_input`."""
    setattr(channel, _SENDING, threading.Lock())
    return channel


def exit_signal(channel: paramiko.Channel) -> str | None:
    """Given a channel whose command ended, return the name of the signal that ended it, if one did."""
    name: str | None = getattr(channel, _SIGNAL, None)
    return name


def send(channel: paramiko.Channel, data: bytes | memoryview) -> None:
    """Given bytes, send them all. Raise OSError or EOFError when the channel or the link is closed."""
    view = memoryview(data)
    while view:
        _wait_for_window(channel)
        with getattr(channel, _SENDING):
            # Only what the window takes now: waiting in here would hold CLOSE back.
            size = min(len(view), _PACKET, channel.out_window_size)
            if size or channel.closed or channel.eof_sent:
                view = view[channel.send(bytes(view[: max(size, 1)])) :]


def _wait_for_window(channel: paramiko.Channel) -> None:
    with channel.lock:
        while channel.out_window_size <= 0 and not (channel.closed or channel.eof_sent):
            channel.out_buffer_cv.wait(_TICK)


def end_input(channel: paramiko.Channel) -> None:
    """Tell the command that its input has ended; nothing happens if the channel is closed."""
    with getattr(channel, _SENDING):
        if not channel.closed:
            channel.shutdown_write()


def close(channel: paramiko.Channel) -> None:
    """Close the channel."""
    with getattr(channel, _SENDING):
        channel.close()
