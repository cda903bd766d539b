"""Event files that TensorBoard reads, read back by protobuf's own decoder of TensorFlow's messages."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from training_toys import make_recipe

from pipeline.catalog import load_catalog
from pipeline.training.events import FOLDER, GraphNode, add_event, start_events
from pipeline.training.graphs import trace_graph
from pipeline.training.loop import train
from pipeline.training.models import Network, build_model
from pipeline.training.spec import SilentReporter, TrainingSpec

RECIPES = load_catalog().recipes
TYPES = {"double": 1, "float": 2, "int64": 3, "int32": 5, "string": 9, "message": 11, "bytes": 12}

# The parts of event.proto, summary.proto, graph.proto, attr_value.proto and tensor_shape.proto that are used.
MESSAGES = {
    "Event": [
        ("wall_time", 1, "double"),
        ("step", 2, "int64"),
        ("file_version", 3, "string"),
        ("graph_def", 4, "bytes"),
        ("summary", 5, "Summary"),
    ],
    "Summary": [("value", 1, "*Value")],
    "Value": [("tag", 1, "string"), ("simple_value", 2, "float")],
    "GraphDef": [("node", 1, "*NodeDef"), ("versions", 4, "VersionDef")],
    "VersionDef": [("producer", 1, "int32")],
    "NodeDef": [("name", 1, "string"), ("op", 2, "string"), ("input", 3, "*string"), ("attr", 5, "*Entry")],
    "Entry": [("key", 1, "string"), ("value", 2, "AttrValue")],
    "AttrValue": [("list", 1, "ListValue"), ("s", 2, "bytes")],
    "ListValue": [("shape", 7, "*Shape")],
    "Shape": [("dim", 2, "*Dim")],
    "Dim": [("size", 1, "int64")],
}


def make_decoders() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="events.proto", package="t", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            added = message.field.add(name=field, number=number, label=3 if kind.startswith("*") else 1)
            bare = kind.removeprefix("*")
            added.type = TYPES.get(bare, TYPES["message"])
            if bare not in TYPES:
                added.type_name = f".t.{bare}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}")) for name in MESSAGES
    }


DECODERS = make_decoders()


def checksum(data: bytes) -> int:
    """CRC-32C bit by bit, masked."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 * (crc & 1))
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32


def read_events(work: Path) -> Iterator[Any]:
    [path] = (work / FOLDER).iterdir()
    data = path.read_bytes()
    while data:
        length, head = struct.unpack("<QI", data[:12])
        assert head == checksum(data[:8])
        content, [tail] = data[12 : 12 + length], struct.unpack("<I", data[12 + length : 16 + length])
        assert tail == checksum(content)
        yield DECODERS["Event"].FromString(content)
        data = data[16 + length :]


def read_graph(work: Path) -> dict[str, Any]:
    [event] = [event for event in read_events(work) if event.graph_def]
    graph = DECODERS["GraphDef"].FromString(event.graph_def)
    assert graph.versions.producer == 22
    return {node.name: node for node in graph.node}


def test_the_checksum_is_that_of_the_standard() -> None:
    # RFC 3720, B.4: 32 bytes of zeroes.
    masked = checksum(bytes(32))
    assert ((masked - 0xA282EAD8) % 2**32) == (((0x8A9136AA >> 15) | (0x8A9136AA << 17)) % 2**32)


def test_rows_become_curves_and_a_resumed_file_has_each_epoch_once(tmp_path: Path) -> None:
    rows = [
        {"epoch": number, "train_loss": loss, "val_macro_f1": 0.1 * number, "lr": 0.01}
        for number, loss in enumerate((1.0, 0.5, 1e300), start=1)
    ]
    start_events(tmp_path, [], [])
    for row in rows[:2]:
        add_event(tmp_path, row)
    start_events(tmp_path, rows[:2], [GraphNode("a", "Conv2d", (), (1, 300))])
    add_event(tmp_path, rows[2])
    first, graph, *events = read_events(tmp_path)
    assert first.file_version == "brain.Event:2" and graph.graph_def
    assert [event.step for event in events] == [1, 2, 3]
    # The last loss is beyond what 32 bits hold.
    for event, row, loss in zip(events, rows, (1.0, 0.5, float("inf")), strict=True):
        assert event.wall_time > 1.7e9
        found = {value.tag: value.simple_value for value in event.summary.value}
        assert found == pytest.approx({"train/loss": loss, "val/macro_f1": row["val_macro_f1"], "lr": 0.01})


def test_a_training_leaves_its_curves_and_its_graph(make_spec: Callable[..., TrainingSpec]) -> None:
    spec = make_spec(recipe=make_recipe(stopping={"epochs": 2}))
    train(spec, SilentReporter())
    work = Path(spec.work)
    rows = [json.loads(line) for line in (work / "history.jsonl").read_text().splitlines()]
    events = [event for event in read_events(work) if event.step]
    losses = [
        {value.tag: value.simple_value for value in event.summary.value}["val/loss"] for event in events
    ]
    assert losses == pytest.approx([row["val_loss"] for row in rows])
    nodes = read_graph(work)
    first = nodes["backbone/0"]
    assert (first.op, list(first.input)) == ("Conv2d", ["images"])
    attributes = {entry.key: entry.value for entry in first.attr}
    assert attributes["attr"].s.startswith(b"1, 32, kernel_size=(4, 4)")
    assert [dim.size for dim in attributes["_output_shapes"].list.shape[0].dim] == [1, 32, 8, 8]


@pytest.mark.parametrize(
    "name", [name if not RECIPES[name].model.name.startswith("timm:") else
             pytest.param(name, marks=pytest.mark.slow) for name in
             ("cnn3", "slim64", "slim64_attend", "resnet18d_attend", "mobilenet_299", "resnet50v2_baseline",
              "xception_299", "vgg16_enhanced")]
)  # fmt: skip
def test_the_graph_holds_every_layer_and_joins_input_to_output(name: str) -> None:
    recipe = RECIPES[name]
    model = build_model(recipe, weights="none").train()
    before = {key: value.clone() for key, value in model.state_dict().items() if "running" in key}
    state = torch.get_rng_state()
    nodes, why = trace_graph(model, recipe)
    assert not why and model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    layers = {key for key, module in model.named_modules() if list(module.parameters(recurse=False))}
    assert layers <= {node.name.replace("/", ".") for node in nodes}
    known: set[str] = set()
    for node in nodes:
        assert set(node.inputs) <= known, node
        known.add(node.name)
    assert len(known) == len(nodes)
    by_name = {node.name: node for node in nodes}
    reached, waiting = set(), ["output"]
    while waiting:
        reached.add(waiting[-1])
        waiting += [one for one in by_name[waiting.pop()].inputs if one not in reached]
    assert reached == known
    assert by_name[by_name["output"].inputs[0]].shape == (1, 4)


def test_a_network_that_cannot_be_followed_says_so() -> None:
    class Branching(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images if images.sum() > 0 else -images

    nodes, why = trace_graph(Network(Branching(), torch.nn.Linear(2, 4)), make_recipe())
    assert nodes == [] and why.startswith("no model graph, since this network cannot be traced: ")
