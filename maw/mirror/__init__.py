"""Mirrors: a Proxmox container becomes an LXD instance on a satellite, whole and verified."""
