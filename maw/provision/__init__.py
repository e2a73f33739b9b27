"""Provisioning: maw's playbooks run by ansible-runner, watched, recorded, and stopped when maw ends.

`run` is the way in. What Ansible says becomes `events.Seen` lines, and these a `model.Run`; nothing else
of it is kept, so that no result of a task, which may hold secrets, reaches the disk.
"""
