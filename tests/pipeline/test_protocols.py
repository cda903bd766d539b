"""Names of protocols: known or not, their files, and behind which of them a leak stops training."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import GateError
from pipeline.protocols import (
    collection_of,
    fold_of,
    is_guarded,
    is_known,
    list_protocols,
    protocol_path,
    split_table,
)

COLLECTIONS = ("kaggle_b", "kaggle_a")


def test_all_protocols_in_the_order_that_people_read_them():
    assert list_protocols(COLLECTIONS) == (
        *("published", "stratified", "patient"),
        *("fold:1", "fold:2", "fold:3", "fold:4", "fold:5"),
        *("external:kaggle_a", "external:kaggle_b"),
    )


@pytest.mark.parametrize(
    ("protocol", "table", "guarded"),
    [
        ("published", "splits/published", False),
        ("stratified", "splits/stratified", False),
        ("patient", "splits/patient", True),
        ("fold:3", "splits/fold/3", True),
        ("external:kaggle_a", "splits/external/kaggle_a", True),
    ],
)
def test_tables_and_guards(protocol, table, guarded):
    assert is_known(protocol, COLLECTIONS)
    assert split_table(protocol) == table
    assert is_guarded(protocol) is guarded


def test_what_a_protocol_tests_on():
    assert [fold_of(one) for one in ("fold:1", "fold:5", "fold:6", "fold:01", "patient")] == [
        1,
        5,
        *[None] * 3,
    ]
    assert collection_of("external:a") == "a"
    assert collection_of("external:") is None and collection_of("patient") is None


@pytest.mark.parametrize(
    "protocol", ["", "fold:0", "fold:6", "fold:", "external:", "external:a/b", "Patient"]
)
def test_a_name_that_no_protocol_has_is_refused(protocol):
    assert not is_known(protocol, COLLECTIONS)
    with pytest.raises(GateError, match=r"there is no protocol .*published.*fold:1 to fold:5.*external:"):
        protocol_path(protocol)


def test_an_external_protocol_needs_its_collection():
    assert not is_known("external:elsewhere", COLLECTIONS)


@settings(deadline=None)
@given(st.lists(st.from_regex(r"[a-z][a-z0-9_]{1,39}", fullmatch=True), unique=True))
def test_no_two_protocols_share_a_file_and_none_has_a_colon(collections):
    tables = [split_table(protocol) for protocol in list_protocols(collections)]
    assert len(set(tables)) == len(tables)
    assert not any(":" in table for table in tables)
