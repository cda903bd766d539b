"""The decision file: read as it was meant, refused as a whole with every mistake, absent images named."""

import csv
import io
import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.curation.decisions import (
    ACTIONS,
    COLUMNS,
    list_absent,
    read_decisions,
    render_foreign,
    render_review,
    write_template,
)
from pipeline.errors import DecisionError
from pipeline.tables import from_arrow, to_arrow

A, B, C, D = (digit * 32 for digit in "abcd")
HEADER = ",".join(COLUMNS)


@pytest.fixture
def read(tmp_path):
    def _read(text, image_ids=None):
        path = tmp_path / "decisions.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_decisions(path, image_ids)

    return _read


@pytest.fixture
def mistakes(read):
    def _mistakes(*lines):
        with pytest.raises(DecisionError) as caught:
            read("\n".join(lines))
        return caught.value.mistakes

    return _mistakes


def test_every_action_is_read_and_pairs_are_put_in_order(read):
    found = read(
        f"{HEADER}\naccept,{B},{A},E. Weber,same rim\nreject,{A},{C},E. Weber,neighbours\n"
        f"keep,{A},,J. Ames,bright but MR\nremove,{D},,J. Ames,a drawing\n"
    )
    assert found.to_dict("split")["data"] == [
        ["accept", A, B, "E. Weber", "same rim"],
        ["keep", A, "", "J. Ames", "bright but MR"],
        ["reject", A, C, "E. Weber", "neighbours"],
        ["remove", D, "", "J. Ames", "a drawing"],
    ]
    stored = from_arrow("decisions", to_arrow("decisions", found))
    assert list(stored["second"]) == [B, "", C, ""]


def test_a_missing_file_and_no_path_are_empty_tables(tmp_path):
    empty = read_decisions(tmp_path / "none.csv")
    assert list(empty.columns) == list(COLUMNS)
    assert to_arrow("decisions", empty).num_rows == 0
    assert len(read_decisions(type(tmp_path)())) == 0


def test_what_office_programs_do_to_a_file_does_no_harm(read):
    line = f' ACCEPT , {A.upper()} ,{B}, Zoë ,"same rim, same vessels"'
    row = read(f"\ufeff{HEADER}\r\n\r\n# a note\r\n{line}\r\n,,,,\r\n").iloc[0]
    assert list(row) == ["accept", A, B, "Zoë", "same rim, same vessels"]


def test_row_order_changes_nothing(read):
    lines = [f"accept,{A},{B},x,y", f"keep,{C},,x,y", f"reject,{C},{D},x,y"]
    there, back = read("\n".join([HEADER, *lines])), read("\n".join([HEADER, *lines[::-1]]))
    pd.testing.assert_frame_equal(there, back)


def test_columns_for_the_eye_and_undecided_rows_say_nothing(read):
    header = HEADER + ",score,first_file"
    found = read(f"{header}\n,{A},{B},,,0.85,a/b.jpg\naccept,{C},{D},me,same,0.84,a/c.jpg\n")
    assert list(found["action"]) == ["accept"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"join,{A},{B},me,why", r"column action: 'join'; allowed: accept, reject, keep, remove"),
        (f"accept,{A[:-1]},{B},me,why", r"column first: .* 32 hex digits; copy it from the table review"),
        (f"accept,{A},picture.jpg,me,why", r"column second: 'picture.jpg'; an image_id has 32 hex digits"),
        (f"accept,{A},,me,why", r"column second: ''; an image_id has 32 hex digits"),
        (f"accept,{A},{A},me,why", r"column second: the same image as first; a pair needs two"),
        (f"keep,{A},{B},me,why", r"column second: .*keep is about one image, leave it empty"),
        (f"accept,{A},{B},,why", r"column who: empty; write who decided"),
        (f"accept,{A},{B},me,", r"column why: empty; write the reason"),
        (f"accept,{A},{B},me", r"4 values where the header has 5 columns; put a value that holds a comma"),
    ],
)
def test_each_mistake_says_line_column_and_fix(mistakes, line, told):
    (found,) = mistakes("# guide", HEADER, line)
    assert found.startswith("decisions.csv, line 3")

    assert re.search(told, found)


def test_all_mistakes_are_told_together(mistakes):
    found = mistakes(HEADER, f"join,{A},{B},,", f"keep,{A},{C},me,y", f"accept,{A},x,me,y")
    assert [one.split(",")[1] for one in found] == [" line 2"] * 3 + [" line 3", " line 4"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"accept,{A},{B},me,y", f"reject,{B},{A},you,n"),
        (f"keep,{A},,me,y", f"remove,{A},,you,n"),
        (f"accept,{A},{B},me,y", f"accept,{B},{A},you,y"),
    ],
)
def test_one_question_has_one_answer(mistakes, one, other):
    (found,) = mistakes(HEADER, one, other)
    assert "line 3, column action" in found
    assert "(line 2); leave one of the two lines" in found


def test_a_rejected_pair_that_accepted_pairs_connect_is_a_mistake(mistakes):
    (found,) = mistakes(HEADER, f"accept,{C},{D},m,y", f"accept,{A},{C},m,y", f"reject,{A},{D},m,n")
    assert "line 4" in found
    assert "connect to one picture" in found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no header; the first line must be action,first,second,who,why"),
        ("action,first,second\n", "missing 'who', 'why'"),
        (HEADER + ",colour\n", "unknown 'colour'; needed are action,first,second,who,why"),
        (HEADER + ",who\n", "repeated 'who'"),
        (HEADER.replace(",", ";"), "separated by `;`; save the file with commas"),
        (f"{HEADER}\n{'x' * 200_000}", "not a CSV file: field larger than field limit"),
        (HEADER.encode() + b"\n\xff\xfe", "is not UTF-8; save the file as CSV UTF-8"),
    ],
)
def test_a_file_that_is_no_decision_file_is_refused(read, text, told):
    with pytest.raises(DecisionError, match="so none of it was used") as caught:
        read(text)
    assert told in caught.value.mistakes[0]


def test_a_folder_is_no_decision_file(tmp_path):
    with pytest.raises(DecisionError, match="cannot be read"):
        read_decisions(tmp_path)


def test_decisions_on_absent_images_are_left_out_and_named(read, tmp_path):
    text = f"{HEADER}\naccept,{A},{B},me,y\nreject,{B},{C},me,y\nkeep,{D},,me,y\n"
    assert list(read(text, {A, B})["action"]) == ["accept"]
    absent = list_absent(read(text), {A, B})
    assert list(zip(absent["action"], absent["absent"], strict=True)) == [("keep", D), ("reject", C)]
    assert len(list_absent(read(text), {A, B, C, D})) == 0


def test_the_template_is_a_file_without_decisions_and_never_overwrites(tmp_path):
    path = tmp_path / "home" / "decisions.csv"
    write_template(path)
    assert len(read_decisions(path)) == 0
    assert all(action in path.read_text() for action in ACTIONS)
    path.write_text(f"{HEADER}\nkeep,{A},,me,y\n")
    write_template(path)
    assert len(read_decisions(path)) == 1


def review(*rows):
    columns = ["first", "second", "first_file", "second_file", "first_label", "second_label", "score"]
    columns += ["worst", "decision", "who", "reason"]
    return pd.DataFrame(rows, columns=columns)


def test_open_questions_can_be_filled_in_and_read(read):
    table = review(
        (A, B, "one/a, b.jpg", "two/b.jpg", "glioma", None, 0.83, None, None, None, None),
        (A, C, "one/a.jpg", "two/c.jpg", "glioma", "glioma", 0.88, 0.6, None, None, None),
        (B, C, "one/b.jpg", "two/c.jpg", "glioma", "glioma", 0.87, 0.6, "reject", "me", "neighbours"),
    )
    text = render_review(table)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["first"], row["second"], row["score"]) for row in rows] == [(A, C, "0.88"), (A, B, "0.83")]
    assert rows[1]["first_file"] == "one/a, b.jpg"
    assert len(read(text)) == 0
    filled = text.replace(f",{A},{C},,,", f"reject,{A},{C},me,other sulci,")
    assert list(read(filled).iloc[0]) == ["reject", A, C, "me", "other sulci"]


def test_open_foreign_images_can_be_filled_in_and_read(read):
    table = pd.DataFrame(
        [(A, "one", "a.jpg", "ct", "a ring", False), (B, "one", "b.jpg", "blank", "even", True)],
        columns=["image_id", "collection", "path", "kind", "detail", "kept"],
    )
    text = render_foreign(table)
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["first"], row["first_file"], row["kind"], row["detail"]) == (A, "one/a.jpg", "ct", "a ring")
    assert list(read(text.replace(f",{A},,,,", f"keep,{A},,me,MR,"))["action"]) == ["keep"]


@settings(deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "decisions.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    try:
        found = read_decisions(path)
    except DecisionError as error:
        assert error.mistakes
    else:
        assert list(found.columns) == list(COLUMNS)


cells = st.tuples(
    st.sampled_from(["accept", "reject", "keep", "remove"]),
    st.sampled_from([A, B, C, D]),
    st.sampled_from([A, B, C, D, ""]),
    st.sampled_from(["me", ""]),
)


@settings(deadline=None)
@given(st.lists(cells, max_size=6))
def test_what_is_read_is_without_contradiction(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "decisions.csv"
    path.write_text("\n".join([HEADER, *(f"{a},{one},{two},{who},y" for a, one, two, who in rows)]))
    try:
        found = read_decisions(path)
    except DecisionError:
        return
    assert len(found) == len(rows)
    pairs = found[found["second"] != ""]
    assert (pairs["first"] < pairs["second"]).all()
    assert not pairs.duplicated(["first", "second"]).any()
    to_arrow("decisions", found)
