"""What `templates` raises.

TemplateError      a template's folder cannot be used, or does something that it must not: its author's fault
InvalidInputs      the caller's variables are wrong: `registry.errors`, every fault at once by JSON pointer
"""

__all__ = ["TemplateError"]


class TemplateError(Exception):
    """A template folder cannot be used; the message names the file and what is wrong."""
