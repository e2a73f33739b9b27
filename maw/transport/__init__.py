"""Reaching a host: run a command there with exact bytes, and know truthfully how it ended.

`local` runs on this machine, `openssh` through the ssh program and a shared connection (fast
to start: the doors use it), `ssh` through Fabric (fast when warm: the pipeline uses it). All
offer the interface of `base.Transport`.
"""
