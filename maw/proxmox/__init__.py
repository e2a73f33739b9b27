"""Proxmox: its API, and what it says of containers, tasks and archives."""
