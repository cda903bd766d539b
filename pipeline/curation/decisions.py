"""What people have decided: a small CSV beside the data, read by every run, refused as a whole if wrong.

    action,first,second,who,why
    accept,0a…32 hex digits…,1b…,E. Weber,same fissures and same tumour rim
    keep,2c…,,E. Weber,bright but an MR slice

`accept` and `reject` say of a pair of images whether they show one picture; `keep` says that an image that
looks foreign stays in; `remove` sets an image aside. Lines that start with `#` are comments. A row with
neither action, who nor why is undecided and says nothing, so that an open list can be filled in step by step.
"""

import csv
import io
import re
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.atomic import replacing_file
from pipeline.errors import DecisionError
from pipeline.tables import find_table

PAIR_ACTIONS = ("accept", "reject")
IMAGE_ACTIONS = ("keep", "remove")
ACTIONS = PAIR_ACTIONS + IMAGE_ACTIONS
COLUMNS = ("action", "first", "second", "who", "why")
EVIDENCE = ("first_file", "second_file", "first_label", "second_label", "score", "worst", "kind", "detail")
"""Columns that a list of open questions shows to people; reading ignores them."""

_IMAGE_ID = re.compile(r"[0-9a-f]{32}")
_GUIDE = """\
# One decision a line. Every run reads this file; a mistake in it stops the run before anything is changed.
#   accept  the two images show one picture           reject  they do not
#   keep    an image that looks foreign stays in      remove  an image is set aside (second stays empty)
# first, second: image_ids, 32 hex digits, as in the tables review and foreign. who, why: never empty.
# Example:
# accept,00000000000000000000000000000000,11111111111111111111111111111111,your name,same vessels and rim
# keep,22222222222222222222222222222222,,your name,an MR slice with a caption
"""


@dataclass(frozen=True)
class _Decision:
    """One row of the file, with the line that it stands in."""

    line: int
    action: str
    first: str
    second: str
    who: str
    why: str

    @property
    def question(self) -> tuple[str, str, str]:
        """What is decided: two answers to one question contradict each other."""
        return ("pair" if self.action in PAIR_ACTIONS else "image", self.first, self.second)


def read_decisions(path: Path, image_ids: Collection[str] | None = None) -> pd.DataFrame:
    """The table `decisions`, sorted by its key; the ids of a pair are put in order.

    A missing file, or no path (`Path()`), is an empty table. Spaces around values do not matter, nor do
    capitals in ids and actions.

    Args:
        path: the CSV file, UTF-8.
        image_ids: where given, decisions on any other image are left out: a collection may be absent from
            this profile. `list_absent` names them, to be shown.

    Raises:
        DecisionError: every mistake of the file, each with file, line, column, allowed values and fix.
    """
    decided, mistakes = _parse_file(path) if path != Path() and path.exists() else ([], [])
    mistakes += _find_contradictions(path, decided)
    if mistakes:
        raise DecisionError(mistakes)
    rows = [(one.action, one.first, one.second, one.who, one.why) for one in decided]
    table = pd.DataFrame(rows, columns=find_table("decisions").names, dtype=object)
    if image_ids is not None:
        table = table[[not _missing(row, set(image_ids)) for row in table.to_dict("records")]]
    return table.sort_values(["action", "first", "second"], ignore_index=True)


def list_absent(decisions: pd.DataFrame, image_ids: Collection[str]) -> pd.DataFrame:
    """The decisions that name an image that is not there, with `absent`: its ids, joined by spaces.

    Args:
        decisions: table `decisions`, read without `image_ids`.
        image_ids: all images of this profile.
    """
    known = set(image_ids)
    absent = [" ".join(_missing(row, known)) for row in decisions.to_dict("records")]
    return decisions.assign(absent=absent).query("absent != ''").reset_index(drop=True)


def write_template(path: Path) -> None:
    """Write a decision file without decisions, with a guide in comments; a file that exists is left alone."""
    if not path.exists():
        with replacing_file(path) as temporary:
            temporary.write_text(_GUIDE + ",".join(COLUMNS) + "\n", encoding="utf-8")


def render_review(review: pd.DataFrame) -> str:
    """The undecided pairs of the table `review` as CSV, best score first: fill in action, who and why.

    The columns after `why` are for the eye; `read_decisions` ignores them, and rows left as they are.
    """
    undecided = review[review["decision"].isna()]
    ordered = undecided.sort_values(["score", "first", "second"], ascending=[False, True, True])
    return _render(ordered.to_dict("records"))


def render_foreign(foreign: pd.DataFrame) -> str:
    """The images of the table `foreign` that nobody has kept as CSV, like `render_review`: keep or remove."""
    rows = foreign[~foreign["kept"].astype(bool)].sort_values(["kind", "image_id"]).to_dict("records")
    return _render(
        {**row, "first": row["image_id"], "first_file": f"{row['collection']}/{row['path']}"} for row in rows
    )


def _render(rows: Iterable[Mapping[Hashable, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS + EVIDENCE)
    for row in rows:
        open_row = {"first": row["first"], "second": row.get("second", "")}
        shown = {name: row[name] for name in EVIDENCE if name in row and not pd.isna(row[name])}
        writer.writerow([(open_row | shown).get(name, "") for name in COLUMNS + EVIDENCE])
    return stream.getvalue()


def _missing(row: Mapping[Hashable, Any], known: set[str]) -> list[str]:
    return [one for one in (row["first"], row["second"]) if one and one not in known]


def _parse_file(path: Path) -> tuple[list[_Decision], list[str]]:
    try:
        lines = list(_split_lines(path.read_bytes().decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        return [], [f"{path.name}: byte {error.start} is not UTF-8; save the file as CSV UTF-8"]
    except OSError as error:
        return [], [f"{path.name}: cannot be read: {error.strerror}; a file is needed here, or none at all"]
    except csv.Error as error:
        return [], [f"{path.name}: not a CSV file: {error}; save it as CSV UTF-8 with commas"]
    if not lines:
        return [], [f"{path.name}: no header; the first line must be {','.join(COLUMNS)}"]
    (number, header), *rows = lines
    mistakes = _check_header(f"{path.name}, line {number}", header)
    if mistakes:
        return [], mistakes
    decided = []
    for number, cells in rows:
        decision, faults = _parse_row(f"{path.name}, line {number}", number, header, cells)
        mistakes += faults
        decided += [decision] if decision else []
    return decided, mistakes


def _split_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of each row that is neither empty nor a comment."""
    reader = csv.reader(io.StringIO(text, newline=""))
    start = 1
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if any(stripped) and not stripped[0].startswith("#"):
            yield start, stripped
        start = reader.line_num + 1


def _check_header(where: str, header: list[str]) -> list[str]:
    wanted = ",".join(COLUMNS)
    if len(header) == 1 and ";" in header[0]:
        return [f"{where}: columns are separated by `;`; save the file with commas: {wanted}"]
    missing = [name for name in COLUMNS if name not in header]
    unknown = [name for name in header if name not in COLUMNS + EVIDENCE]
    repeated = sorted({name for name in header if header.count(name) > 1})
    faults = {"missing": missing, "unknown": unknown, "repeated": repeated}
    found = [f"{what} {', '.join(map(repr, names))}" for what, names in faults.items() if names]
    hint = f"needed are {wanted}; allowed besides: {', '.join(EVIDENCE)}"
    return [f"{where}: columns {'; '.join(found)}; {hint}"] if found else []


def _parse_row(
    where: str, line: int, header: list[str], cells: list[str]
) -> tuple[_Decision | None, list[str]]:
    if len(cells) != len(header):
        fix = "put a value that holds a comma between double quotes"
        return None, [f"{where}: {len(cells)} values where the header has {len(header)} columns; {fix}"]
    row = dict(zip(header, cells, strict=True))
    if not (row["action"] or row["who"] or row["why"]):
        return None, []
    action = row["action"].lower()
    faults = [] if action in ACTIONS else [f"column action: {row['action']!r}; allowed: {', '.join(ACTIONS)}"]
    first, second = row["first"].lower(), row["second"].lower()
    faults += _check_ids(action, first, second)
    faults += [
        f"column {name}: empty; write {'who decided' if name == 'who' else 'the reason'}"
        for name in ("who", "why")
        if not row[name]
    ]
    if action in PAIR_ACTIONS:
        first, second = min(first, second), max(first, second)
    return _Decision(line, action, first, second, row["who"], row["why"]), [
        f"{where}, {fault}" for fault in faults
    ]


def _check_ids(action: str, first: str, second: str) -> list[str]:
    expected = "an image_id has 32 hex digits; copy it from the table review or foreign"
    faults = [] if _IMAGE_ID.fullmatch(first) else [f"column first: {first!r}; {expected}"]
    if action in IMAGE_ACTIONS and second:
        faults.append(f"column second: {second!r}; {action} is about one image, leave it empty")
    elif action not in IMAGE_ACTIONS and not _IMAGE_ID.fullmatch(second):
        faults.append(f"column second: {second!r}; {expected}")
    elif first == second:
        faults.append("column second: the same image as first; a pair needs two")
    return faults


def _find_contradictions(path: Path, decided: list[_Decision]) -> list[str]:
    """Questions answered twice, and pairs that are rejected although accepted pairs connect them."""
    mistakes = []
    answers: dict[tuple[str, str, str], _Decision] = {}
    for one in decided:
        before = answers.setdefault(one.question, one)
        if before is not one:
            again = "again" if before.action == one.action else f"after {before.action}"
            what = " and ".join(name for name in (one.first, one.second) if name)
            mistakes.append(
                f"{path.name}, line {one.line}, column action: {one.action} of {what} {again} (line "
                f"{before.line}); leave one of the two lines"
            )
    accepted = [one for one in answers.values() if one.action == "accept"]
    roots = _connect(accepted)
    for one in answers.values():
        joined = one.first in roots and one.second in roots and roots[one.first] == roots[one.second]
        if one.action == "reject" and joined:
            mistakes.append(
                f"{path.name}, line {one.line}, column action: reject of {one.first} and {one.second}, which "
                "the accepted pairs of other lines connect to one picture; correct one of them"
            )
    return mistakes


def _connect(accepted: list[_Decision]) -> dict[str, str]:
    """Each accepted image with the smallest image that accepted pairs connect it to."""
    roots: dict[str, str] = {}
    for one in accepted:
        low, high = sorted((roots.setdefault(one.first, one.first), roots.setdefault(one.second, one.second)))
        roots |= {name: low for name, root in roots.items() if root == high}
    return roots
