"""Backups of a gateway: its database and its store in a folder, and back from there."""
