"""How commands print tables for people."""

from rich.console import Console
from rich.table import Table

__all__ = ["console", "table"]


def table(first: str, *others: str) -> Table:
    """A table whose first column gives way when the terminal is narrow, and no other."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    made.add_column(first, overflow="fold")
    for title in others:
        made.add_column(title, no_wrap=title != "about")
    return made


def console() -> Console:
    """Prints to stdout; a pipe has no width to fit into."""
    console = Console()
    return console if console.is_terminal else Console(width=160)
