"""Files set aside after the scan: a person's removals, with the reason given."""

import pandas as pd

from pipeline.curation.aside import keep_members, set_aside
from pipeline.tables import find_table


def make_scan() -> pd.DataFrame:
    rows = []
    for name, md5, reason in [("a", "1", None), ("b", "2", None), ("c", "2", None), ("d", "3", None),
                              ("e", None, "hidden"), ("f", "4", None)]:  # fmt: skip
        row = dict.fromkeys(find_table("scan").names)
        row |= {"collection": "one", "path": name, "md5": md5, "bytes": 1, "licence": "l", "reason": reason}
        rows.append(row)
    return pd.DataFrame(rows)


def make_decisions(*rows: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=find_table("decisions").names)


def read_reasons(files: pd.DataFrame) -> dict[str, str]:
    return {row["path"]: row["reason"] for row in files.to_dict("records") if isinstance(row["reason"], str)}


def test_a_removed_image_takes_all_its_files_along():
    decisions = make_decisions(("remove", "2", "", "Ada", "a drawing"), ("accept", "1", "4", "Ada", "same"))
    files = set_aside(make_scan(), decisions)
    assert read_reasons(files) == {"b": "removed", "c": "removed", "e": "hidden"}
    assert files.set_index("path")["detail"]["b"] == "Ada: a drawing"


def test_nothing_to_set_aside_changes_nothing_but_the_name_of_the_table():
    files = set_aside(make_scan(), make_decisions())
    assert files[["collection", "path", "md5"]].equals(make_scan()[["collection", "path", "md5"]])


def test_records_of_files_set_aside_are_dropped():
    records = pd.DataFrame({"collection": ["one", "one"], "path": ["a", "b"], "slice": ["s", "t"]})
    files = set_aside(make_scan(), make_decisions(("remove", "2", "", "Ada", "a drawing")))
    assert list(keep_members(records, files)["path"]) == ["a"]
