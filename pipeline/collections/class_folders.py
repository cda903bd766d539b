"""Collections whose folders are the labels: `Training/glioma/x.jpg`."""

from dataclasses import dataclass

from pipeline.catalog import Layout


@dataclass(frozen=True)
class Place:
    """What a file's folders say: the published split, if any, and the label as spelled."""

    split: str | None
    label: str


class Places:
    """What a layout's folders say of the files below them: worked out once a folder of files."""

    def __init__(self, layout: Layout) -> None:
        holders = [(_split(folder.path), folder.split) for folder in layout.folders]
        self._holders = sorted(holders, key=lambda holder: -len(holder[0]))
        self._known: dict[str, Place | None] = {}

    def find(self, path: str) -> Place | None:
        """Split and label of a path; None for a file outside the layout's folders or beside the labels.

        The deepest of the layout's folders that holds the file counts; the next folder is the label, and
        folders below that say nothing.
        """
        parent = path.rpartition("/")[0]
        if parent not in self._known:
            self._known[parent] = self._read(parent.split("/") if parent else [])
        return self._known[parent]

    def _read(self, parents: list[str]) -> Place | None:
        for parts, split in self._holders:
            if len(parents) > len(parts) and parents[: len(parts)] == parts:
                return Place(split, parents[len(parts)])
        return None


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
