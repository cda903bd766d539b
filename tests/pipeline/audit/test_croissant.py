"""Croissant: mlcroissant finds no fault, and reads through it what the tables hold."""

import json

import mlcroissant as mlc
import pyarrow.parquet as pq
import pytest

from pipeline.audit.croissant import CROISSANT, describe_lake, dump_croissant
from pipeline.audit.export import EVERYTHING
from pipeline.audit.report import write_reports
from pipeline.digests import digest_file
from pipeline.errors import TableError
from pipeline.tables import find_table, to_arrow

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # rdflib's and pandas', of mlcroissant

NAMES = (*EVERYTHING, "thumbnails")


@pytest.fixture(scope="module")
def lake(evidence, tmp_path_factory):
    """Stored tables: name -> path."""
    folder = tmp_path_factory.mktemp("lake")
    frames = {name: getattr(evidence, name) for name in NAMES}
    frames |= {
        "splits/patient": evidence.splits["patient"],
        "splits/external/web_a": evidence.splits["published"],
    }
    for name, frame in frames.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(to_arrow(name, frame), folder / f"{name}.parquet")
    return {name: folder / f"{name}.parquet" for name in frames}


@pytest.fixture(scope="module")
def dataset(evidence, lake, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    (folder / CROISSANT).write_text(dump_croissant(describe_lake(evidence, lake, folder)), "utf-8")
    return mlc.Dataset(jsonld=str(folder / CROISSANT))


def test_mlcroissant_finds_no_fault(dataset):
    issues = dataset.metadata.issues
    assert not issues.errors
    # A date would come from the clock; everything else that is recommended is there.
    assert all("datePublished" in warning for warning in issues.warnings)


def test_records_are_those_of_the_tables(dataset, evidence):
    groups = {
        row["groups/image_id"].decode(): row["groups/group_id"].decode() for row in dataset.records("groups")
    }
    assert groups == dict(zip(evidence.groups["image_id"], evidence.groups["group_id"], strict=True))
    splits = [row["splits/patient/split"].decode() for row in dataset.records("splits/patient")]
    assert sorted(splits) == sorted(evidence.splits["patient"]["split"])


def test_nested_columns_are_read(dataset, evidence):
    rows = {row["images/image_id"].decode(): row for row in dataset.records("images")}
    for own in evidence.images.to_dict("records"):
        found = rows[own["image_id"]]
        assert [one.decode() for one in found["images/labels"]] == own["labels"]
        paths = [one["images/members/path"].decode() for one in found["images/members"]]
        assert paths == [one["path"] for one in own["members"]]
    (pair, *_) = dataset.records("pairs")
    assert len(pair["pairs/transform"]) == 6


def test_files_are_pinned(dataset, lake):
    for one in dataset.metadata.distribution:
        assert one.sha256 == digest_file(lake[one.id.removesuffix(".parquet")])


def test_every_column_is_described(evidence, lake, tmp_path):
    described = describe_lake(evidence, lake, tmp_path)
    sets = {one["@id"]: one for one in described["recordSet"]}
    assert set(sets) == {*lake, "split_names"}
    for name in lake:
        assert [one["name"] for one in sets[name]["field"]] == find_table(name).names
        assert all(one["description"] for one in sets[name]["field"])


def test_sources_carry_licence_and_citation(evidence, lake, tmp_path):
    described = describe_lake(evidence, lake, tmp_path)
    sources = {one["alternateName"]: one for one in described["isBasedOn"]}
    assert sources["web_a"]["license"] == "none <stated>"
    assert sources["web_a"]["version"] == "3"
    assert "identifier" not in sources["web_b"]
    assert described["license"][0] == "reference: CC BY 4.0 (pixels: yes)"
    assert "never counted as a patient" in described["description"]


def test_addresses_are_relative(evidence, lake, tmp_path):
    described = describe_lake(evidence, lake, tmp_path / "reports")
    for one in described["distribution"]:
        assert not one["contentUrl"].startswith("/")
        assert (tmp_path / "reports" / one["contentUrl"]).resolve() == lake[
            one["@id"].removesuffix(".parquet")
        ].resolve()


def test_missing_table_is_named(evidence, tmp_path):
    with pytest.raises(TableError, match=r"Croissant cannot describe groups: no file at .*groups\.parquet"):
        describe_lake(evidence, {"groups": tmp_path / "groups.parquet"}, tmp_path)


def test_written_beside_the_reports(evidence, facts, lake, tmp_path):
    written = write_reports(evidence, tmp_path, tables=lake, facts=facts)
    assert json.loads(written[CROISSANT].read_text("utf-8"))["@type"] == "sc:Dataset"
