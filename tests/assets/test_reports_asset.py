"""The reports as assets, and `make verify` over what they left: every change is found and named."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from report_homes import RECIPE, Shelf, fill, release, report

from assets.partitions import grid_key
from assets.report_sources import (
    find_cells,
    find_outdated,
    gather_model_sources,
    gather_release_sources,
    read_recipe,
)
from assets.reports import find_reports, is_reported, locate
from assets.trainings import CONTROL
from commands.__main__ import main
from commands.graph import Outcome
from commands.reports import refresh_reports, require_cells
from commands.verify import WatchfulLake
from pipeline.errors import ReportError, TableError
from pipeline.schemas import TABLES
from pipeline.tables import from_arrow
from resources.lake import Lake
from resources.ledgers import append_row
from resources.settings import Settings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENT = f"models/patient/{RECIPE}"


@pytest.fixture(scope="module")
def reported_once(make_store, curated_once, tmp_path_factory):
    """(root, what MLflow was given, materialisations) of a home with three reports."""
    root = tmp_path_factory.mktemp("reported")
    shutil.copytree(curated_once / "home", root / "home")
    (root / "datasets").symlink_to(curated_once / "datasets")
    store = make_store(root)
    lake, shelf = Lake(home=store.home), Shelf()
    for protocol in ("published", "patient"):
        fill(lake, store, protocol)
    release(lake, store)
    return root, shelf, report(lake, store, shelf)


@pytest.fixture
def reported(reported_once, make_store, tmp_path, monkeypatch):
    """(lake, store) of a copy that may be harmed, and that the commands find."""
    root = reported_once[0]
    shutil.copytree(root / "home", tmp_path / "home")
    (tmp_path / "datasets").symlink_to((root / "datasets").resolve())
    store = make_store(tmp_path)
    (tmp_path / "home" / "profile").write_text("folder\n")
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FALX_{name.upper()}", raising=False)
    monkeypatch.setenv("FALX_PROFILE", "folder")
    monkeypatch.setenv("FALX_HOME", store.home)
    monkeypatch.setenv("FALX_DATASETS", store.datasets)
    return Lake(home=store.home), store


def verify(capsys) -> tuple[int, str]:
    code = main(["verify"])
    said = capsys.readouterr()
    return code, said.out + said.err


def move_one_answer(frame):
    """The first right clean answer to a tumour now goes to another class."""
    clean = frame[(frame["variant"] == "clean") & (frame["label"] == "glioma") & (frame["p_glioma"] > 0.5)]
    columns = ["p_glioma", "p_no_tumor"]
    frame.loc[clean.index[0], columns] = frame.loc[clean.index[0], columns[::-1]].tolist()
    return frame


def test_pages_cards_and_facts_are_written_told_and_logged(reported_once, make_store):
    root, shelf, made = reported_once
    store = make_store(root)
    assert list(find_reports(store)) == [PATIENT, f"models/published/{RECIPE}", "release"]
    page = Path(made[1].metadata["report"].value)
    assert page == locate(store, PATIENT)[".html"]
    assert made[1].metadata["in MLflow"].value.endswith(f"falx-{RECIPE}-patient/report/report.html")
    assert "not a medical device" in made[1].metadata["card"].value.lower()
    files = shelf.files[f"falx-{RECIPE}-patient"]
    assert {"report/report.html", "report/model_card.md", "report/report.json"} <= set(files)
    assert {"release_report/release_report.html", "release_report/model_card.md"} <= set(files)
    assert not any("release" in name for name in shelf.files[f"falx-{RECIPE}-published"])
    assert 'data-fact="board/published/optimism' in page.read_text()
    links = re.findall(r'href="([^#"]+)"', page.read_text())
    assert {str((page.parent / link).resolve().relative_to(page.parents[2])) for link in links} == {
        "release.html", "audit.html"
    }  # fmt: skip


def test_the_release_page_links_to_each_models(reported_once, make_store):
    page = locate(make_store(reported_once[0]), "release")[".html"]
    links = set(re.findall(r'href="(models[^"]+)"', page.read_text()))
    assert links == {f"models/patient/{RECIPE}.html", f"models/published/{RECIPE}.html"}
    assert all((page.parent / link).is_file() for link in links)


def test_a_report_is_outdated_by_other_answers_other_code_or_a_lost_file(reported, monkeypatch):
    lake, store = reported
    assert is_reported(lake, store, RECIPE, "patient") and is_reported(lake, store)
    assert find_cells(lake, store) == [(RECIPE, "published"), (RECIPE, "patient")]
    monkeypatch.setattr("assets.report_sources.CODE", "newer")
    assert not is_reported(lake, store, RECIPE, "patient")
    monkeypatch.undo()
    frame = move_one_answer(lake.read(f"predictions/published/{RECIPE}"))
    lake.write(f"predictions/published/{RECIPE}", frame, inputs="i", code="c")
    assert not is_reported(lake, store, RECIPE, "patient"), "its optimism is another"
    assert not is_reported(lake, store)
    locate(store, "release")[".json"].write_text("{")
    assert not is_reported(lake, store)
    locate(store, "release")[".html"].unlink()
    assert not is_reported(lake, store)


def test_the_same_tables_give_the_same_bytes(reported, reported_once):
    lake, store = reported
    before = {path.name: path.read_bytes() for place in find_reports(store)
              for path in locate(store, place).values()}  # fmt: skip
    report(lake, store, Shelf())
    after = {path.name: path.read_bytes() for place in find_reports(store)
             for path in locate(store, place).values()}  # fmt: skip
    assert before == after


def test_verify_passes_on_an_untouched_home(reported, capsys):
    code, said = verify(capsys)
    assert code == 0, said
    assert said.count("\nok    ") + said.startswith("ok    ") == 3
    assert re.search(
        rf"ok    {PATIENT}: \d+ numbers and sentences, \d+ curves, page and card byte by byte", said
    )
    assert "every number is as counted again: 3 reports" in said


def test_verify_names_what_one_changed_answer_changes(reported, capsys):
    lake, _store = reported
    table = f"predictions/patient/{RECIPE}"
    lake.write(table, move_one_answer(lake.read(table)), inputs="i", code="c")
    code, said = verify(capsys)
    assert code == 1
    line = next(line for line in said.splitlines() if f"{PATIENT}: metric/accuracy/all:" in line)
    assert re.search(rf"printed 0\.\d+, recomputed 0\.\d+ \({table}\)", line)
    assert f"release: board/{RECIPE}/patient/macro_f1: printed" in said
    assert f"{PATIENT}: table {table}: printed made from" in said


def test_verify_sees_a_change_too_small_to_print(reported, capsys):
    lake, _store = reported
    table = f"validations/published/{RECIPE}"
    frame = lake.read(table)
    frame.loc[0, "p_glioma"] += 1e-9
    lake.write(table, frame, inputs="i", code="c")
    code, said = verify(capsys)
    assert code == 1
    assert f"models/published/{RECIPE}: table {table}: printed made from" in said


def test_verify_sees_a_table_that_was_changed_behind_the_lakes_back(reported, capsys):
    lake, _store = reported
    table = f"predictions/patient/{RECIPE}"
    path = lake.path(table)
    changed = move_one_answer(from_arrow(table, pq.read_table(path)))
    from pipeline.tables import to_arrow

    pq.write_table(to_arrow(table, changed), path)
    code, said = verify(capsys)
    assert code == 1
    assert f"DAMAGED {table}: table '{table}'" in said
    assert "was changed or damaged after it was written" in said
    assert f"{PATIENT}: metric/accuracy/all: printed" in said


def test_verify_sees_one_digit_of_a_page(reported, capsys):
    path = locate(reported[1], PATIENT)[".html"]
    page = path.read_text()
    found = re.search(r'data-fact="metric/accuracy/all">0\.(\d+)<', page)
    digit = str((int(found.group(1)[0]) + 1) % 10)
    spot = found.start(1)
    path.write_text(page[:spot] + digit + page[spot + 1 :])
    code, said = verify(capsys)
    assert code == 1
    assert f"{PATIENT}: metric/accuracy/all: printed 0.{digit}" in said
    assert "2 differences" in said


def test_verify_sees_a_changed_fact_and_a_changed_card(reported, capsys):
    paths = locate(reported[1], "release")
    facts = json.loads(paths[".json"].read_text())
    facts["facts"]["audit/found"]["value"] += 1
    paths[".json"].write_text(json.dumps(facts))
    paths[".md"].write_text(paths[".md"].read_text().replace("0.", "1.", 1))
    code, said = verify(capsys)
    assert code == 1
    assert "release: audit/found: printed" in said
    assert "release: the card, character" in said


@pytest.mark.parametrize("suffix", [".html", ".json", ".md"])
def test_verify_misses_a_file(reported, capsys, suffix):
    path = locate(reported[1], PATIENT)[suffix]
    path.unlink()
    code, said = verify(capsys)
    assert code == 1
    assert f"WRONG {PATIENT}: cannot be verified: {path.name} is missing beside the others" in said


def test_verify_refuses_facts_that_are_none(reported, capsys):
    locate(reported[1], PATIENT)[".json"].write_text("{}")
    code, said = verify(capsys)
    assert code == 1
    assert "holds no facts that this code can read" in said


def test_verify_needs_the_answers(reported, capsys):
    lake, _store = reported
    table = f"predictions/patient/{RECIPE}"
    lake.path(table).unlink()
    code, said = verify(capsys)
    assert code == 1
    assert f"WRONG {PATIENT}: cannot be verified: table '{table}' is not in the lake" in said


def test_verify_needs_what_training_left(reported, capsys):
    _lake, store = reported
    shutil.rmtree(Path(store.home) / "models")
    code, said = verify(capsys)
    assert code == 1
    assert "recipe.json holds no recipe" in said
    with pytest.raises(ReportError, match="train it again"):
        read_recipe(Path(store.home))


def test_verify_says_which_models_have_no_report(reported, capsys):
    for path in locate(reported[1], PATIENT).values():
        path.unlink()
    code, said = verify(capsys)
    assert code == 0
    assert f"note: no report yet of {RECIPE} under patient; make report" in said


def train_on_one_image_less(lake) -> None:
    """The split of `patient` as it may be after collections came or went: the test part is the same."""
    split, groups = lake.read("splits/patient"), lake.read("groups")
    sizes = groups.groupby("group_id")["image_id"].transform("size")
    alone = set(groups.loc[sizes == 1, "image_id"])
    trained = split.index[(split["split"] == "train") & split["image_id"].isin(alone)]
    split.loc[trained[0], ["split", "why"]] = ["left_out", "bridges two splits"]
    lake.write("splits/patient", split, inputs="later", code="c")


def test_a_report_of_an_earlier_split_is_left_as_it_was_and_told(reported, capsys):
    lake, store = reported
    train_on_one_image_less(lake)
    assert find_outdated(lake, store) == [(RECIPE, "patient")]
    assert find_cells(lake, store) == [(RECIPE, "published")]
    with pytest.raises(ReportError, match=f"{RECIPE} under patient: the split has changed since it was"):
        gather_model_sources(lake, store, RECIPE, "patient")
    code, said = verify(capsys)
    assert f"old   {PATIENT}: not verified; {RECIPE} under patient: the split has changed" in said
    assert f"make train RECIPE={RECIPE} PROTOCOL=patient trains and reports it anew" in said
    assert code == 0, said


def test_what_is_outdated_is_told_when_reports_are_made(reported, capsys):
    lake, store = reported
    asked = []

    def refresh(job, key):
        asked.append((job, str(key)))
        return Outcome(job, str(key), [], ["model_report"], 0.0)

    graph = SimpleNamespace(lake=lake, raw_store=store, refresh=refresh)
    train_on_one_image_less(lake)
    refresh_reports(graph)
    assert asked == [("report", str(grid_key(RECIPE, "published")))]
    assert f"note: {RECIPE} under patient: the split has changed since it was trained" in (
        capsys.readouterr().out
    )
    require_cells(graph)
    for table in ("metrics", "evidence"):
        lake.manifest_path(f"{table}/published/{RECIPE}").unlink()
    with pytest.raises(ReportError, match=f"^{RECIPE} under patient: the split has changed"):
        require_cells(graph)
    lake.manifest_path(f"metrics/patient/{RECIPE}").unlink()
    with pytest.raises(ReportError, match="no model has answers and figures in the lake yet"):
        require_cells(graph)


def test_changed_answers_do_not_pass_as_those_of_an_earlier_split(reported, capsys):
    lake, _store = reported
    train_on_one_image_less(lake)
    table = f"predictions/patient/{RECIPE}"
    lake.write(table, move_one_answer(lake.read(table)), inputs="i", code="c")
    code, said = verify(capsys)
    assert code == 1
    assert f"WRONG {PATIENT}: cannot be verified: {RECIPE} under patient: the split has changed" in said


def test_optimism_is_counted_from_answers_to_the_test_parts_of_today_alone(reported):
    lake, store = reported
    assert set(gather_model_sources(lake, store, RECIPE, "published").board["protocol"]) == {
        "published",
        "patient",
    }
    split = lake.read("splits/patient")
    split.loc[split.index[split["split"] == "test"][0], "split"] = "left_out"
    lake.write("splits/patient", split, inputs="later", code="c")
    board = gather_model_sources(lake, store, RECIPE, "published").board
    assert board["protocol"].tolist() == ["published"]
    assert board["optimism"].isna().all()


def test_verify_refuses_a_report_of_no_protocol(reported, capsys):
    _lake, store = reported
    for suffix, path in locate(store, "models/elsewhere/x").items():
        path.parent.mkdir(exist_ok=True)
        shutil.copy(locate(store, PATIENT)[suffix], path)
    code, said = verify(capsys)
    assert code == 1
    assert "models/elsewhere/x is the report of no protocol of the catalog; known: published" in said


def test_verify_without_reports_says_what_to_do(reported, capsys):
    shutil.rmtree(Path(reported[1].home) / "reports")
    code, said = verify(capsys)
    assert code == 1
    assert "there is nothing to verify; make one first: make demo" in said


def test_a_watchful_lake_still_refuses_what_is_not_there(reported):
    lake = WatchfulLake(home=reported[1].home)
    with pytest.raises(TableError, match="materialise the asset"):
        lake.read("predictions/patient/nobody")
    assert "predictions/patient/nobody" in lake.damaged


def test_verify_counts_the_choice_of_the_champion_from_the_exam(reported, capsys):
    lake, _store = reported
    lake.write("exams", move_one_answer(lake.read("exams")), inputs="i", code="c")
    code, said = verify(capsys)
    assert code == 1
    assert "release: release/0/val_macro_f1: printed" in said


def test_verify_sees_bytes_of_a_table_that_it_counts_again_and_never_reads(reported, capsys):
    table = f"metrics/patient/{RECIPE}"
    path = reported[0].path(table)
    path.write_bytes(path.read_bytes() + b"more")
    code, said = verify(capsys)
    assert code == 1
    assert f"{PATIENT}: table {table}: printed made from" in said


def test_verify_passes_on_a_control(reported, capsys):
    lake, store = reported
    for path in Path(store.home, "models").rglob("package/*.json"):
        held = json.loads(path.read_text())
        held |= {"gate": CONTROL} if path.stem == "card" else {"data": held["data"] | {"labels": "shuffled"}}
        path.write_text(json.dumps(held))
    report(lake, store, Shelf())
    code, said = verify(capsys)
    assert code == 0, said


def test_an_opening_whose_manifest_a_kill_kept_back_is_counted(reported):
    lake, store = reported
    row = dict.fromkeys(TABLES["openings"].names, "x") | {"seed": 0, "recipe": RECIPE}
    append_row(lake, "openings", row)
    lake.manifest_path("openings").unlink()
    assert gather_release_sources(lake, store).openings["recipe"].tolist() == [RECIPE]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: pages are not rendered")
def test_the_pages_render_without_a_word_on_the_console(reported, tmp_path):
    for place in find_reports(reported[1]):
        path = locate(reported[1], place)[".html"]
        quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr"]
        command = [CHROMIUM, *quiet, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert "not a medical device" in done.stdout
        assert "CONSOLE" not in done.stderr
