"""How a job ends before its time."""

from providers.diffusers_modal.wire import ErrorCode, ErrorRecord

__all__ = ["Refused", "first_line"]


class Refused(Exception):
    """The job ends with this record. Raised inside a pipeline too, to stop it within a step."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.record = ErrorRecord(code=code, message=message)


def first_line(error: Exception) -> str:
    """What a library's error says to people: its first line, 300 characters at most."""
    return str(error).strip().split("\n")[0][:300]
