"""The graph of a network: which operation feeds which, with the shape of each result."""

from typing import Any

import torch
from torch import fx, nn

from pipeline.recipe import Recipe
from pipeline.training.events import GraphNode

NOTE_LETTERS = 200


class _Tracer(fx.Tracer):
    """Follows a network down to the modules that hold parameters, and no deeper."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        holds = bool(list(m.parameters(recurse=False)))
        return holds or super().is_leaf_module(m, module_qualified_name)


class _Shapes(fx.Interpreter):
    """Runs a traced network and remembers the shape of each result."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.shapes[n.name] = tuple(result.shape)
        return result


@torch.no_grad()
def trace_graph(model: nn.Module, recipe: Recipe) -> tuple[list[GraphNode], str]:
    """The graph of a recipe's network for one image, and why there is none where it cannot be followed.

    The network is run once, in evaluation mode: nothing of it changes, and no random number is drawn.

    Args:
        model: on any device; left in the mode that it was in.
    """
    size, channels = recipe.input.size, recipe.input.channels
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        traced = fx.GraphModule(model, _Tracer().trace(model))
        traced.graph.eliminate_dead_code()
        runner = _Shapes(traced)
        runner.run(torch.zeros(1, channels, size, size, device=device))
    except (torch.fx.proxy.TraceError, RuntimeError, TypeError, AttributeError) as error:
        return [], f"no model graph, since this network cannot be traced: {error}"
    finally:
        model.train(training)
    names = {node: _name(node) for node in traced.graph.nodes}
    nodes = [
        GraphNode(
            names[node],
            _kind(node, traced),
            tuple(names[one] for one in node.all_input_nodes),
            runner.shapes.get(node.name, ()),
            _note(node, traced),
        )
        for node in traced.graph.nodes
    ]
    return nodes, ""


def _name(node: fx.Node) -> str:
    """A module by its place (`backbone/3/branch/0`); a further call of it, and all else, by fx's own name."""
    if node.op != "call_module" or node.name != str(node.target).replace(".", "_"):
        return node.name
    return str(node.target).replace(".", "/")


def _kind(node: fx.Node, traced: fx.GraphModule) -> str:
    if node.op == "call_module":
        return type(traced.get_submodule(str(node.target))).__name__
    if node.op == "call_function":
        return str(getattr(node.target, "__name__", node.target))
    return str(node.target) if node.op == "call_method" else node.op


def _note(node: fx.Node, traced: fx.GraphModule) -> str:
    if node.op != "call_module":
        return ""
    return traced.get_submodule(str(node.target)).extra_repr()[:NOTE_LETTERS]
