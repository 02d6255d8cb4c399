"""Is this really a safetensors file? Its header is read by us; nothing in it is run or loaded.

Layout: 8 bytes with the header's length (little endian), a JSON object, then the tensors' bytes.
The tensors must fill the rest of the file without a gap, so there is no place to hide anything.
"""

import json
from math import prod
from typing import IO, Any

from gateway.media.errors import MediaRefused

__all__ = ["MAX_HEADER", "check_safetensors"]

MAX_HEADER = 100_000_000
MAX_RANK = 16
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


def check_safetensors(file: IO[bytes], size: int) -> int:
    """Check a file from end to end.

    Args:
        file: at its start.
        size: its bytes.

    Returns:
        How many tensors it holds.

    Raises:
        MediaRefused: it is no whole safetensors file.
    """
    length = int.from_bytes(file.read(8), "little")
    if size < 10 or not 2 <= length <= min(MAX_HEADER, size - 8):
        raise MediaRefused("it is no safetensors file, the one kind of weights that is taken")
    header = _read_header(file.read(length))
    metadata = header.pop("__metadata__", {})
    if not _is_text_map(metadata):
        raise MediaRefused("the safetensors header's __metadata__ is not text")
    if not header:
        raise MediaRefused("the safetensors file holds no tensor")
    spans = sorted(_span(name, row) for name, row in header.items())
    at = 0
    for start, end in spans:
        if start != at:
            raise MediaRefused("the safetensors file's tensors overlap or leave a gap")
        at = end
    if at != size - 8 - length:
        raise MediaRefused("the safetensors file is cut short, or holds more than its tensors")
    return len(spans)


def _read_header(data: bytes) -> dict[str, Any]:
    if not data.startswith(b"{"):
        raise MediaRefused("it is no safetensors file, the one kind of weights that is taken")
    try:
        header: dict[str, Any] = json.loads(data.decode(), object_pairs_hook=_once)
    except ValueError as error:
        raise MediaRefused("the safetensors header is not JSON") from error
    return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a key twice would be read in two ways."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MediaRefused("the safetensors header has a key twice")
    return found


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _span(name: str, row: Any) -> tuple[int, int]:
    """Where a tensor's bytes are, which must be as many as its shape takes."""
    if not isinstance(row, dict) or row.keys() != {"dtype", "shape", "data_offsets"}:
        raise MediaRefused(f"the tensor {name[:80]!r} has no dtype, shape and data_offsets")
    shape, offsets = row["shape"], row["data_offsets"]
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or len(shape) > MAX_RANK:
        raise MediaRefused(f"the tensor {name[:80]!r} has a shape or offsets that cannot be")
    bits = BITS.get(str(row["dtype"]))
    start, end = offsets
    if bits is None or prod(shape) * bits != (end - start) * 8:
        raise MediaRefused(f"the tensor {name[:80]!r} has a size that is not that of its dtype and shape")
    return start, end


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value)
