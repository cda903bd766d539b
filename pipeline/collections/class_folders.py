"""Collections whose folders are the labels: `Training/glioma/x.jpg`."""

from dataclasses import dataclass

from pipeline.catalog import ClassFolder, Layout


@dataclass(frozen=True)
class Place:
    """What a file's folders say: the published split, if any, and the label as spelled."""

    split: str | None
    label: str


def find_class(path: str, layout: Layout) -> Place | None:
    """Read split and label off a path; None for a file outside the layout's folders or beside the labels.

    The deepest of the layout's folders that holds the file counts; the next folder is the label, and
    folders below that say nothing.
    """
    *parents, _ = path.split("/")
    holders = [folder for folder in layout.folders if _lies_in(parents, folder)]
    if not holders:
        return None
    folder = max(holders, key=lambda holder: len(_parts(holder)))
    return Place(folder.split, parents[len(_parts(folder))])


def _lies_in(parents: list[str], folder: ClassFolder) -> bool:
    parts = _parts(folder)
    return len(parents) > len(parts) and parents[: len(parts)] == parts


def _parts(folder: ClassFolder) -> list[str]:
    return [part for part in folder.path.split("/") if part not in ("", ".")]
