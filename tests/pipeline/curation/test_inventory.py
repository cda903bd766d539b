"""Every file is counted once, whatever lies in the folders, however many workers look at it."""

import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.catalog import Collection, load_catalog
from pipeline.curation.inventory import (
    Inventory,
    check_accounts,
    list_images,
    list_quarantine,
    take_inventory,
)
from pipeline.digests import digest_bytes
from pipeline.errors import GateError, SourceError
from pipeline.imaging.decode import resize_grey
from pipeline.schemas import QUARANTINE_REASONS
from pipeline.tables import to_arrow


def draw(seed: int, side: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side + 4), np.uint8)


def encode(pixels: np.ndarray, kind: str = "PNG", mode: str = "L") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, kind)
    return stream.getvalue()


def make_collection(name: str, **changes: Any) -> Collection:
    fields: dict[str, Any] = {
        "name": name,
        "title": name,
        "description": "for tests",
        "source": {"manual": {"url": "https://example.org", "instructions": "none"}},
        "licence": {"stated": f"licence of {name}", "redistribute": "unknown"},
        "citation": "none",
        "layout": {
            "reader": "class_folders",
            "folders": [{"path": "Training", "split": "train"}, {"path": "Testing", "split": "test"}],
            "masks": "*_mask.png",
            "sidecars": ["README.txt"],
        },
        "labels": {"glioma": "glioma", "notumor": "no_tumor", "2": "glioma"},
    }
    return Collection.model_validate(fields | changes)


COLLECTIONS = {
    "web": make_collection("web"),
    "ward": make_collection(
        "ward", layout={"reader": "figshare", "sidecars": ["slices.csv"]}, reference=True
    ),
}
TABLE = (
    "slice,file,label,pid,box_x,box_y,box_w,box_h\n"
    "1,1.png,2,MR1,0.5,0.25,0.2,0.1\n2,2.png,2,MR1B,,,,\n3,3.png,2,7,,,,\n"
)
SHARED, WHOLE = encode(draw(1)), encode(draw(2))
WEB = {
    "Training/glioma/a.jpg": WHOLE,  # a PNG by content
    "Training/glioma/a again.jpg": WHOLE,
    "Testing/notumor/b.gif": encode(draw(3), "GIF"),
    "Testing/notumor/copy.png": SHARED,  # the reference calls it glioma
    "Training/glioma/rgb.bmp": encode(draw(4), "BMP", "RGB"),
    "Training/glioma/c_mask.png": encode(draw(5)),
    "Training/glioma/.d.png": WHOLE,
    "Training/.ipynb_checkpoints/glioma/e.png": WHOLE,
    "Training/glioma/f.png": b"",
    "Training/glioma/g.png": WHOLE[:200],
    "Training/glioma/h.png": WHOLE[:60] + b"\xa5" * 20 + WHOLE[80:],
    "Training/glioma/Thumbs.db": b"\xd0\xcf\x11\xe0 thumbnails",
    "Training/gliomas/i.png": encode(draw(6)),
    "Training/j.png": encode(draw(7)),
    "README.txt": b"read me",
}
WARD = {"slices.csv": TABLE.encode(), "1.png": SHARED, "2.png": encode(draw(8)), "3.png": b"", "4.png": WHOLE}


def write_tree(root: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    web = write_tree(tmp_path / "web", WEB)
    (web / "Training/glioma/link.png").symlink_to("a.jpg")
    os.mkfifo(web / "Training/glioma/pipe.png")
    return {"web": web, "ward": write_tree(tmp_path / "ward", WARD)}


def tables_of(inventory: Inventory) -> dict[str, pd.DataFrame]:
    quarantine = list_quarantine(inventory.files)
    images = list_images(inventory.files, references=["ward"])
    check_accounts(inventory.files, quarantine, images)
    return {
        "files": inventory.files,
        "records": inventory.records,
        "thumbnails": inventory.thumbnails,
        "quarantine": quarantine,
        "images": images,
    }


def digest(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    found = {}
    for name, frame in tables.items():
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, to_arrow(name, frame).schema) as writer:
            writer.write_table(to_arrow(name, frame))
        found[name] = digest_bytes(sink.getvalue())
    return found


# --- the golden tree ---


def test_golden_quarantine(folders: dict[str, Path]) -> None:
    inventory = take_inventory(COLLECTIONS, folders, workers=2)
    found = {(row.collection, row.path): row.reason for row in list_quarantine(inventory.files).itertuples()}
    assert found == {
        ("ward", "3.png"): "empty",
        ("ward", "4.png"): "unlabelled",
        ("ward", "slices.csv"): "sidecar",
        ("web", "README.txt"): "sidecar",
        ("web", "Training/.ipynb_checkpoints/glioma/e.png"): "hidden",
        ("web", "Training/glioma/.d.png"): "hidden",
        ("web", "Training/glioma/Thumbs.db"): "not_an_image",
        ("web", "Training/glioma/c_mask.png"): "mask",
        ("web", "Training/glioma/f.png"): "empty",
        ("web", "Training/glioma/g.png"): "truncated",
        ("web", "Training/glioma/h.png"): "corrupt",
        ("web", "Training/glioma/link.png"): "link",
        ("web", "Training/glioma/pipe.png"): "unreadable",
        ("web", "Training/gliomas/i.png"): "unmapped_label",
        ("web", "Training/j.png"): "unlabelled",
    }
    assert set(found.values()) == set(QUARANTINE_REASONS) - {"too_large"}
    assert len(inventory.files) == len(WEB) + len(WARD) + 2


def test_golden_files(folders: dict[str, Path]) -> None:
    files = take_inventory(COLLECTIONS, folders, workers=1).files.set_index(["collection", "path"])
    bitmap = files.loc[("web", "Training/glioma/rgb.bmp")]
    data = WEB["Training/glioma/rgb.bmp"]
    assert bitmap.drop(["reason", "detail"]).to_dict() == {
        "bytes": len(data),
        "md5": hashlib.md5(data).hexdigest(),
        "width": 24,
        "height": 20,
        "mode": "RGB",
        "format": "BMP",
        "published_split": "train",
        "published_label": "glioma",
        "label": "glioma",
        "licence": "licence of web",
    }
    assert files.loc[("web", "Training/glioma/a.jpg"), "format"] == "PNG"
    assert files.loc[("web", "Training/glioma/h.png"), ["width", "format"]].isna().all()
    assert files.loc[("web", "Training/glioma/c_mask.png"), "md5"] == hashlib.md5(encode(draw(5))).hexdigest()
    for path in ("Training/glioma/link.png", "Training/glioma/pipe.png"):
        assert pd.isna(files.loc[("web", path), "md5"])
        assert files.loc[("web", path), "bytes"] == 0


def test_golden_images_and_records(folders: dict[str, Path]) -> None:
    tables = tables_of(take_inventory(COLLECTIONS, folders, workers=2))
    images = tables["images"].set_index("image_id")
    assert len(images) == 5
    shared = images.loc[hashlib.md5(SHARED).hexdigest()]
    assert (shared.collection, shared.path, shared.label) == ("ward", "1.png", "glioma")
    assert shared.labels == ["glioma", "no_tumor"]
    assert [(member["collection"], member["path"]) for member in shared.members] == [
        ("ward", "1.png"),
        ("web", "Testing/notumor/copy.png"),
    ]
    assert [member["published_split"] for member in shared.members] == [None, "test"]
    twice = images.loc[hashlib.md5(WHOLE).hexdigest()]
    assert (twice.path, len(twice.members)) == ("Training/glioma/a again.jpg", 2)
    records = tables["records"].to_dict("records")
    assert [(row["path"], row["slice"], row["patient"]) for row in records] == [
        ("1.png", "1", "MR1"),
        ("2.png", "2", "MR1B"),
    ]
    assert (records[0]["box_x"], records[0]["box_h"]) == (0.5, 0.1)
    assert np.isnan(records[1]["box_x"])


def test_thumbnails_are_those_of_the_images(folders: dict[str, Path]) -> None:
    tables = tables_of(take_inventory(COLLECTIONS, folders, workers=2))
    assert tables["thumbnails"]["image_id"].tolist() == tables["images"]["image_id"].tolist()
    pixels = tables["thumbnails"].set_index("image_id")["pixels"]
    assert pixels[hashlib.md5(WHOLE).hexdigest()] == resize_grey(draw(2), 64).tobytes()
    assert set(pixels.map(len)) == {64 * 64}


# --- what may not matter ---


def test_workers_order_and_place_change_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    expected = digest(tables_of(take_inventory(COLLECTIONS, folders, workers=1)))
    assert digest(tables_of(take_inventory(COLLECTIONS, folders, workers=7))) == expected
    elsewhere = {}
    for name, files in (("ward", WARD), ("web", WEB)):
        shuffled = sorted(files.items(), key=lambda item: random.Random(item[0]).random())
        elsewhere[name] = write_tree(tmp_path / "elsewhere" / f"folder of {name}", dict(shuffled))
    (elsewhere["web"] / "Training/glioma/link.png").symlink_to("nowhere")
    os.mkfifo(elsewhere["web"] / "Training/glioma/pipe.png")
    (tmp_path / "alias").symlink_to(elsewhere["web"])
    elsewhere["web"] = tmp_path / "alias"
    assert digest(tables_of(take_inventory(COLLECTIONS, elsewhere, workers=2))) == expected


def test_a_collection_without_a_folder_is_left_out(folders: dict[str, Path]) -> None:
    del folders["web"]
    assert set(take_inventory(COLLECTIONS, folders, workers=1).files["collection"]) == {"ward"}


def test_no_folder_at_all_gives_empty_tables() -> None:
    tables = tables_of(take_inventory(COLLECTIONS, {}, workers=1))
    assert {name: len(frame) for name, frame in tables.items()} == dict.fromkeys(tables, 0)


def test_a_folder_of_an_unknown_collection_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"unknown collections \['else'\]; known: web, ward"):
        take_inventory(COLLECTIONS, {"else": tmp_path}, workers=1)


def test_an_error_in_one_collection_is_raised_not_skipped(folders: dict[str, Path]) -> None:
    shutil.rmtree(folders["web"])
    with pytest.raises(SourceError, match=r"web: .* is no folder"):
        take_inventory(COLLECTIONS, folders, workers=1)


def test_a_broken_matlab_file_is_set_aside_by_what_its_bytes_say(tmp_path: Path) -> None:
    folder = write_tree(tmp_path, {"1.mat": b"", "2.mat": WHOLE, "3.mat": b"litter"})
    collection = load_catalog().collections["cheng_figshare"]
    files = take_inventory({"cheng_figshare": collection}, {"cheng_figshare": folder}, workers=1).files
    assert files["reason"].tolist() == ["empty", "corrupt", "not_an_image"]


def test_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys, pipeline.curation.inventory; "
        "heavy = ('torch', 'sklearn', 'matplotlib', 'dagster', 'mlflow'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# --- labels of images ---

Row = tuple[str, str, str, str]  # collection, path, content, label


def make_files(rows: list[Row]) -> pd.DataFrame:
    files = pd.DataFrame(rows, columns=["collection", "path", "md5", "label"])
    return files.assign(width=4, height=3, published_split=None, reason=None)


@pytest.mark.parametrize(
    ("rows", "label", "canonical"),
    [
        ([("b", "1", "x", "glioma"), ("c", "2", "x", "glioma")], "glioma", "b"),
        ([("b", "1", "x", "glioma"), ("c", "2", "x", "pituitary")], None, "b"),
        ([("b", "1", "x", "glioma"), ("r", "2", "x", "pituitary")], "pituitary", "r"),
        ([("r", "1", "x", "glioma"), ("r", "2", "x", "pituitary"), ("b", "1", "x", "glioma")], None, "r"),
        ([("r", "1", "x", "glioma"), ("s", "2", "x", "pituitary")], None, "r"),
    ],
)
def test_the_reference_decides_where_files_differ(rows: list[Row], label: str | None, canonical: str) -> None:
    [image] = list_images(make_files(rows), references=["s", "r"]).to_dict("records")
    assert (None if pd.isna(image["label"]) else image["label"]) == label
    assert image["labels"] == sorted({row[3] for row in rows})
    assert image["collection"] == canonical


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abr"),
            st.sampled_from("123"),
            st.sampled_from("xyz"),
            st.sampled_from(["glioma", "pituitary"]),
        ),
        unique_by=lambda row: row[:2],
    ),
    st.randoms(),
)
def test_images_account_for_every_member_in_any_order(rows: list[Row], dice: random.Random) -> None:
    images = list_images(make_files(rows), references=["r"])
    shuffled = rows.copy()
    dice.shuffle(shuffled)
    assert digest({"images": list_images(make_files(shuffled), references=["r"])}) == digest(
        {"images": images}
    )
    assert len(images) == len({row[2] for row in rows})
    assert sum(map(len, images["members"])) == len(rows)


# --- accounts ---


@pytest.fixture
def accounts(folders: dict[str, Path]) -> dict[str, pd.DataFrame]:
    return tables_of(take_inventory(COLLECTIONS, folders, workers=1))


def check(tables: Mapping[str, pd.DataFrame]) -> None:
    check_accounts(tables["files"], tables["quarantine"], tables["images"])


def repeat_first(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[:1]], ignore_index=True)


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("quarantine", lambda frame: frame.iloc[1:], r"1 in neither: ward/3\.png"),
        (
            "images",
            lambda frame: frame[frame["collection"] != "ward"],
            r"3 in neither: ward/1\.png, ward/2\.png, web/",
        ),
        ("files", lambda frame: frame.iloc[1:], r"1 not in files: ward/1\.png"),
        ("files", repeat_first, r"1 listed twice in files: ward/1\.png"),
        ("quarantine", repeat_first, r"1 set aside twice: ward/3\.png"),
        ("images", repeat_first, r"\d a member twice: w"),
        (
            "quarantine",
            lambda frame: frame.replace({"path": {"3.png": "1.png"}}),
            r"1 in neither: ward/3\.png; 1 set aside and a member: ward/1\.png",
        ),
        (
            "files",
            lambda frame: frame.iloc[:0],
            r"0 files, 15 in quarantine, 7 members.*22 not in files.*, …",
        ),
    ],
)
def test_accounts_that_do_not_balance_name_the_difference(
    accounts: dict[str, pd.DataFrame],
    table: str,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
) -> None:
    check(accounts)
    with pytest.raises(GateError, match=message):
        check(accounts | {table: change(accounts[table])})
