"""Who is set aside after the scan: images that a person removed."""

import pandas as pd

from pipeline.tables import from_arrow, list_rows, to_arrow


def set_aside(scan: pd.DataFrame, decisions: pd.DataFrame) -> pd.DataFrame:
    """The table `files`: the scan, with a reason for members that were removed.

    A file that the scan has set aside keeps its reason.

    Args:
        scan: table `scan`.
        decisions: table `decisions`.
    """
    verdicts = _list_removed(decisions)
    files = scan.copy()
    open_rows = files["reason"].isna() & files["md5"].isin(list(verdicts))
    for column, position in (("reason", 0), ("detail", 1)):
        said = files.loc[open_rows, "md5"].map(lambda md5, at=position: verdicts[md5][at])
        files[column] = files[column].astype(object).where(~open_rows, said)
    return from_arrow("files", to_arrow("files", files))


def keep_members(records: pd.DataFrame, files: pd.DataFrame) -> pd.DataFrame:
    """Records of reference slices that are still members of an image."""
    members = files.loc[files["reason"].isna(), ["collection", "path"]]
    return records.merge(members, on=["collection", "path"])


def _list_removed(decisions: pd.DataFrame) -> dict[str, tuple[str, str]]:
    return {
        row["first"]: ("removed", f"{row['who']}: {row['why']}")
        for row in list_rows(decisions)
        if row["action"] == "remove"
    }
