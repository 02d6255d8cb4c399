"""Weights: a whole safetensors file or nothing."""

import io
import json
import pickle
from typing import Any

import pytest

from gateway.media.errors import MediaRefused
from gateway.media.lora import check_safetensors

ROW = {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}


def file_of(header: Any, data: bytes = b"\0" * 12, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def check(content: bytes) -> int:
    return check_safetensors(io.BytesIO(content), len(content))


def test_what_the_library_writes(tmp_path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    tensors = {"a.down": torch.zeros(4, 8, dtype=torch.bfloat16), "b": torch.ones(3), "c": torch.tensor(1)}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    assert check((tmp_path / "x.safetensors").read_bytes()) == 3


@pytest.mark.parametrize(
    "header",
    [{"a": ROW}, {"a": ROW, "__metadata__": {"rank": "4"}}, json.dumps({"a": ROW}).encode() + b"    ",
     {"a": {**ROW, "shape": [6]}}, {"b": {**ROW, "data_offsets": [12, 12], "shape": [0]}, "a": ROW}],
)  # fmt: skip
def test_good_ones(header) -> None:
    assert check(file_of(header)) >= 1


BROKEN = {
    "empty": b"",
    "short": b"\x02\0\0",
    "pickle": pickle.dumps({"a": [1]}),
    "zip": b"PK\x03\x04" + b"\0" * 100,
    "header too long": file_of({"a": ROW}, length=1 << 40),
    "header past the end": file_of({"a": ROW}, length=500),
    "no JSON": file_of(b"{nope}"),
    "not UTF-8": file_of(b'{"\xff": 1}'),
    "a list": file_of(b"[]" + b" " * 9),
    "space first": file_of(b" " + json.dumps({"a": ROW}).encode()),
    "no tensor": file_of({}, b""),
    "metadata alone": file_of({"__metadata__": {}}, b""),
    "metadata of numbers": file_of({"a": ROW, "__metadata__": {"x": 1}}),
    "a key twice": file_of(b'{"a": %b, "a": %b}' % ((json.dumps(ROW).encode(),) * 2)),
    "cut short": file_of({"a": ROW})[:-1],
    "more at the end": file_of({"a": ROW}) + b"PK",
    "a gap before": file_of({"a": {**ROW, "data_offsets": [1, 13]}}, b"\0" * 13),
    "overlap": file_of({"a": ROW, "b": ROW}),
    "backwards": file_of({"a": {**ROW, "data_offsets": [12, 0]}}),
    "shape and offsets differ": file_of({"a": {**ROW, "shape": [2, 2]}}),
    "negative": file_of({"a": {**ROW, "shape": [-2, -3]}}),
    "a float": file_of({"a": {**ROW, "shape": [2.0, 3]}}),
    "a boolean": file_of({"a": {**ROW, "shape": [True, 6]}}),
    "huge": file_of({"a": {**ROW, "shape": [1 << 62, 1 << 62]}}),
    "rank": file_of({"a": {**ROW, "shape": [1] * 16 + [6]}}),
    "unknown dtype": file_of({"a": {**ROW, "dtype": "OBJECT"}}),
    "dtype is a list": file_of({"a": {**ROW, "dtype": ["F16"]}}),
    "another member": file_of({"a": {**ROW, "code": "x"}}),
    "no shape": file_of({"a": {"dtype": "F16", "data_offsets": [0, 12]}}),
    "three offsets": file_of({"a": {**ROW, "data_offsets": [0, 12, 12]}}),
    "a number": file_of({"a": 7}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_ones(name) -> None:
    with pytest.raises(MediaRefused):
        check(BROKEN[name])
