"""LXD on a host: its API through a unix socket, here or forwarded."""
