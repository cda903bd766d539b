"""The flow files → images → pictures → patients as one figure."""

from collections.abc import Mapping, Sequence

from pipeline.audit.counts import ALL
from pipeline.audit.facts import Flow
from pipeline.pages.charts import WIDTH, draw, number, rect, text
from pipeline.pages.markup import Html
from pipeline.pages.style import COLLECTION_COLOURS, FAINT, SHARED_COLOUR, UNKNOWN_COLOUR

HEIGHT = 300.0
TOP = 52.0
SHARED, KNOWN, UNKNOWN = "shared", "known", "unknown"
GAP = 8.0
NODE = 16.0
COLUMNS = (130.0, 375.0, 620.0, 865.0)
LINE = 16.0  # a line of words: nodes stand at least so far apart

Node = tuple[float, float, float]
"""x, top, bottom."""


def colour_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each collection, by its place in the sorted names."""
    return {name: COLLECTION_COLOURS[k % len(COLLECTION_COLOURS)] for k, name in enumerate(sorted(names))}


def draw_flow(
    flow: Sequence[Flow], images: Mapping[str, tuple[int, int]], pictures: Mapping[str, tuple[int, int]]
) -> Html:
    """Four columns to one scale: files and images by collection, pictures by who shows them, patients.

    Args:
        flow: from `measure_flow`.
        images: collection -> its distinct images whose picture it alone shows, and whose picture another
            shows too; an image of two collections counts at its canonical one.
        pictures: collection, or `shared` -> pictures that it alone (or several) show, with a known patient
            and without.
    """
    own = [one for one in flow if one.collection != ALL]
    whole = next(one for one in flow if one.collection == ALL)
    colours = colour_of([one.collection for one in own]) | {SHARED: SHARED_COLOUR}
    scale = HEIGHT / max(1, whole.files)
    files = _stack(0, {one.collection: one.files for one in own}, scale)
    held = _stack(1, {name: sum(images[name]) for name in files}, scale)
    shown = _stack(2, {name: sum(pictures[name]) for name in (SHARED, *files)}, scale)
    last = _stack(3, {KNOWN: whole.patients, UNKNOWN: whole.pictures_unknown}, scale)
    parts = [*_head(whole), *(_ribbon(_right(files[name]), held[name], colours[name]) for name in files)]
    parts += _spread(
        held, shown, {name: {SHARED: images[name][1], name: images[name][0]} for name in files}, colours
    )
    kinds = {name: {KNOWN: known, UNKNOWN: unknown} for name, (known, unknown) in pictures.items()}
    parts += _spread(shown, last, kinds, colours)
    for name in files:
        parts += _node(files[name], colours[name])
        parts.append(
            _label_left(files[name], f"{next(one.files for one in own if one.collection == name):,}", name)
        )
        parts += _node(held[name], colours[name], f"{sum(images[name]):,}")
        parts += _node(shown[name], colours[name], f"{sum(pictures[name]):,} only here")
    parts += _node(shown[SHARED], SHARED_COLOUR, f"{sum(pictures[SHARED]):,} in several")
    parts += _node(last[KNOWN], SHARED_COLOUR, f"{whole.patients:,} known patients")
    unknown = f"{whole.pictures_unknown:,} pictures of"
    parts += _node(last[UNKNOWN], UNKNOWN_COLOUR, unknown, "unknown patients")
    return draw(WIDTH, TOP + HEIGHT + 30, *parts, title="Files, images, pictures, patients, to one scale")


def _spread(
    left: Mapping[str, Node],
    right: Mapping[str, Node],
    sizes: Mapping[str, Mapping[str, int]],
    colours: Mapping[str, str],
) -> list[Html]:
    """Ribbons from each left node to the right ones, by share of either's height."""
    totals = {name: max(1, sum(one.get(name, 0) for one in sizes.values())) for name in right}
    inlets = {name: node[1] for name, node in right.items()}
    parts = []
    for name, node in left.items():
        outlet, whole = node[1], max(1, sum(sizes[name].values()))
        for end, size in sizes[name].items():
            out = (node[2] - node[1]) * size / whole
            into = (right[end][2] - right[end][1]) * size / totals[end]
            start, stop = (
                (node[0] + NODE, outlet, outlet + out),
                (right[end][0], inlets[end], inlets[end] + into),
            )
            parts += [_ribbon(start, stop, colours[name])] if size else []
            outlet, inlets[end] = outlet + out, inlets[end] + into
    return parts


def _head(whole: Flow) -> list[Html]:
    heads = (
        ("files", whole.files, f"{whole.set_aside:,} set aside"),
        ("distinct images", whole.images, f"{whole.members - whole.images:,} byte-identical repeats"),
        ("distinct pictures", whole.pictures, f"{whole.images - whole.pictures:,} copies with other bytes"),
        ("patients", whole.patients, f"of {whole.with_patient:,} images"),
    )
    parts = []
    for x, (what, size, below) in zip(COLUMNS, heads, strict=True):
        parts.append(text(x - 4, 16, f"{size:,} {what}", size=15))
        parts.append(text(x - 4, 34, below, fill=FAINT))
    return parts


def _stack(column: int, sizes: Mapping[str, int], scale: float) -> dict[str, Node]:
    nodes, top = {}, TOP
    for name, size in sizes.items():
        tall = max(size * scale, 2.0 if size else 0.0)
        nodes[name] = (COLUMNS[column], top, top + tall)
        top += max(tall + GAP, LINE * (1 + column // 2)) if size else 0.0
    return nodes


def _right(node: Node) -> Node:
    return node[0] + NODE, node[1], node[2]


def _node(node: Node, colour: str, *words: str) -> list[Html]:
    x, top, bottom = node
    if bottom <= top:
        return []
    middle = (top + bottom) / 2 + 4 - 7.5 * (len(words) - 1)
    said = [text(x + NODE + 6, middle + 15 * k, word) for k, word in enumerate(words) if word]
    return [rect(x, top, NODE, bottom - top, colour), *said]


def _label_left(node: Node, *words: str) -> Html:
    middle = (node[1] + node[2]) / 2 + 4 - 7.5 * (len(words) - 1)
    return Html(
        "".join(text(node[0] - 6, middle + 15 * k, word, anchor="end") for k, word in enumerate(words))
    )


def _ribbon(start: tuple[float, float, float], end: tuple[float, float, float], colour: str) -> Html:
    """A band between two vertical edges (x, top, bottom)."""
    (x1, a, b), (x2, c, d) = start, end
    bend = (x1 + x2) / 2
    points = [x1, a, bend, a, bend, c, x2, c, x2, d, bend, d, bend, b, x1, b]
    p = [number(value) for value in points]
    path = f"M{p[0]},{p[1]}C{p[2]},{p[3]} {p[4]},{p[5]} {p[6]},{p[7]}L{p[8]},{p[9]}"
    path += f"C{p[10]},{p[11]} {p[12]},{p[13]} {p[14]},{p[15]}Z"
    return Html(f'<path d="{path}" fill="{colour}" fill-opacity="0.28"/>')
