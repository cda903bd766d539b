"""TensorBoard event files, written without TensorBoard: curves an epoch, and the model graph.

The format is TensorFlow's: records (length, its checksum, bytes, their checksum) of the message `Event`
(tensorflow/core/util/event.proto, framework/graph.proto). To look at them: `pip install tensorboard`, which
Falx itself does without, since it brings 170 MB.
"""

import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from ctypes import c_float
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.atomic import write_bytes

FOLDER = "tensorboard"
FILE = "events.out.tfevents.{after:010d}.falx"
VERSION = b"brain.Event:2"
PRODUCER = 22  # of the graph format, as torch.utils.tensorboard states it
CASTAGNOLI = 0x82F63B78  # the polynomial of CRC-32C, reflected

Row = Mapping[str, float]


@dataclass(frozen=True)
class GraphNode:
    """One operation of a model graph.

    Args:
        name: unique; `/` between parts makes groups that TensorBoard folds.
        kind: what it does: Conv2d, ReLU, add.
        inputs: names of the nodes whose results it takes.
        shape: of its result, batch first; empty where it has none.
        note: what a person should know of it, such as its settings.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    note: str = ""


def start_events(work: Path, history: Sequence[Row], graph: Sequence[GraphNode]) -> None:
    """Write the graph and the rows of the finished epochs to a new event file, in place of older ones.

    Called at each start of a training, so that a resumed one has every epoch once.
    """
    folder = work / FOLDER
    older = sorted(folder.glob("events.out.tfevents.*"))
    records = [_pack_record(_event(3, VERSION))]
    if graph:
        records.append(_pack_record(_event(4, encode_graph(graph))))
    records += [_pack_row(row) for row in history]
    path = folder / FILE.format(after=len(history))
    write_bytes(path, b"".join(records))
    for other in older:
        if other != path:
            other.unlink()


def add_event(work: Path, row: Row) -> None:
    """Append the row of an epoch to the newest event file; `start_events` has made one."""
    newest = max((work / FOLDER).glob("events.out.tfevents.*"))
    with newest.open("ab") as stream:
        stream.write(_pack_row(row))


def encode_graph(nodes: Iterable[GraphNode]) -> bytes:
    """A model graph as the message `GraphDef`."""
    return b"".join(_field(1, _encode_node(node)) for node in nodes) + _field(4, _number(1, PRODUCER))


def _encode_node(node: GraphNode) -> bytes:
    dimensions = b"".join(_field(2, _number(1, size)) for size in node.shape)
    attributes = {"attr": _field(2, node.note.encode())} if node.note else {}
    if node.shape:
        attributes["_output_shapes"] = _field(1, _field(7, dimensions))
    return (
        _field(1, node.name.encode())
        + _field(2, node.kind.encode())
        + b"".join(_field(3, name.encode()) for name in node.inputs)
        + b"".join(
            _field(5, _field(1, name.encode()) + _field(2, value)) for name, value in attributes.items()
        )
    )


def _pack_row(row: Row) -> bytes:
    """A record of one epoch: `train_loss` is shown as train/loss, beside val/loss."""
    figures = {name.replace("_", "/", 1): value for name, value in row.items() if name != "epoch"}
    values = b"".join(
        _field(1, _field(1, name.encode()) + struct.pack("<Bf", 2 << 3 | 5, c_float(value).value))
        for name, value in figures.items()
    )
    return _pack_record(_event(5, values, step=int(row["epoch"])))


def _event(kind: int, content: bytes, *, step: int = 0) -> bytes:
    head = struct.pack("<Bd", 1 << 3 | 1, time.time())
    return head + (_number(2, step) if step else b"") + _field(kind, content)


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes, text or a message: tag, length, content."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def _pack_record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _mask_checksum(length) + data + _mask_checksum(data)


def _mask_checksum(data: bytes) -> bytes:
    """CRC-32C, rotated and offset, as the format wants it: a checksum of data that holds checksums."""
    table, crc = _make_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def _make_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (CASTAGNOLI if crc & 1 else 0)
        table.append(crc)
    return tuple(table)
