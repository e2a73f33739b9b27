"""What the stand-in's programs share: its state, its backups, its API."""
