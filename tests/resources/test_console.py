"""The terminal: time, step and message on one line, louder where it matters."""

import logging
import re

import dagster as dg
import pytest

from resources.console import StepFormatter, console


def render(level: int, message: str, **meta: str) -> str:
    record = logging.LogRecord("falx", level, __file__, 1, message, (), None)
    if meta:
        record.dagster_meta = meta
    return StepFormatter().format(record)


def test_a_line_has_time_step_and_the_message_as_it_was_written():
    line = render(logging.INFO, "run - 1 - long", step_key="model", orig_message="epoch 1 of 3")
    assert re.fullmatch(r"  \d\d:\d\d:\d\d  model {16}epoch 1 of 3", line)


def test_where_several_runs_go_at_once_a_label_stands_before_the_step():
    record = logging.LogRecord("falx", logging.INFO, __file__, 1, "", (), None)
    record.dagster_meta = {"step_key": "model", "orig_message": "epoch 1"}
    line = StepFormatter("cnn3 patient").format(record)
    assert re.fullmatch(r"  \d\d:\d\d:\d\d  cnn3 patient {13}model {16}epoch 1", line)


@pytest.mark.parametrize(("level", "mark"), [(logging.WARNING, "WARNING: "), (logging.ERROR, "ERROR: ")])
def test_a_warning_is_marked(level, mark):
    assert render(level, "", step_key="raw", orig_message="SKIPPED").endswith(f"{mark}SKIPPED")


def test_a_record_from_elsewhere_is_shown_as_it_is():
    assert render(logging.INFO, "hello").endswith("hello")


def test_a_run_shows_its_steps_messages_on_stderr(capsys):
    @dg.asset
    def table(context: dg.AssetExecutionContext) -> None:
        context.log.info("3 rows written")

    defs = dg.Definitions(assets=[table], jobs=[dg.define_asset_job("work")], loggers={"console": console})
    defs.resolve_job_def("work").execute_in_process(run_config={"loggers": {"console": {}}})
    lines = [line for line in capsys.readouterr().err.splitlines() if line.endswith("3 rows written")]
    assert len(lines) == 1
    assert "table" in lines[0]
