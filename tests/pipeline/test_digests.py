"""Digests and seeds are functions of content alone, the same on every machine and in every release."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.digests import (
    CHUNK_BYTES,
    digest_bytes,
    digest_file,
    digest_json,
    digest_sources,
    digest_tree,
    seed_for,
)

GOLDEN = {
    "json": "d764fee2563da33e3d57334755404e635da33c995824b0adfabc4b6e1af4f608",
    "tree": "b2a02897fa675cc0dc55a2a454bcd1582fb7d2b4814dc92d7c635b87da69352f",
    "seed": 5980832706281574793,
}
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4, example of SHA-256


def test_bytes_and_files_give_sha_256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert digest_bytes(b"abc") == digest_file(tmp_path / "abc") == ABC
    (tmp_path / "large").write_bytes(b"x" * (CHUNK_BYTES * 2 + 1))
    assert digest_file(tmp_path / "large") == digest_bytes(b"x" * (CHUNK_BYTES * 2 + 1))


def test_golden_values_never_drift() -> None:
    """Stored identities hang on these: a change makes every table, cache and split anew."""
    assert digest_json({"b": [1, 2.5, None], "a": "é"}) == GOLDEN["json"]
    assert digest_tree({"b/2": "22", "a/1": "11"}) == GOLDEN["tree"]
    assert seed_for(0, 3, "0a1b") == GOLDEN["seed"]


def test_json_does_not_depend_on_the_order_of_keys() -> None:
    assert digest_json({"a": 1, "b": {"c": 2, "d": 3}}) == digest_json({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest_json([1, 2]) != digest_json([2, 1])
    assert digest_json({"a": 1}) != digest_json({"a": "1"})


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf]])
def test_json_refuses_what_is_no_number(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_json(value)


def test_json_refuses_what_it_cannot_say() -> None:
    with pytest.raises(TypeError):
        digest_json({"path": Path("x")})


def test_trees_depend_on_paths_and_content_not_on_order() -> None:
    tree = {"a": "1", "b": "2", "a/c": "3"}
    assert digest_tree(tree) == digest_tree(dict(reversed(tree.items())))
    assert digest_tree(tree) != digest_tree(tree | {"b": "3"})
    assert digest_tree(tree) != digest_tree({"a": "1", "c": "2", "a/c": "3"})
    assert digest_tree({}) == digest_bytes(b"")


def test_sources_count_by_folder_name_and_content(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "module.py").write_text(folder)
    both = [tmp_path / "here/module.py", tmp_path / "there/module.py"]
    assert digest_sources(both) == digest_sources(reversed(both))
    assert len({digest_sources(both), digest_sources(both[:1]), digest_sources(both[1:])}) == 3
    before = digest_sources(both)
    both[0].write_text("changed")
    assert digest_sources(both) != before


@given(st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4))
def test_seeds_fit_every_generator_and_repeat(parts: list[object]) -> None:
    assert 0 <= seed_for(*parts) < 2**63
    assert seed_for(*parts) == seed_for(*parts)


def test_seeds_tell_their_parts_apart() -> None:
    seeds = {
        seed_for("ab", "c"),
        seed_for("a", "bc"),
        seed_for("abc"),
        seed_for(),
        seed_for("c", "ab"),
        seed_for(1, 11),
        seed_for(11, 1),
    }
    assert len(seeds) == 7
