"""The sides of the benchmark differ in threads alone, and what keeps the machine busy ends."""

from contextlib import nullcontext

import psutil
import pytest

from benchmarks.busy import SIDES, compare, keep_busy, leave_threads
from pipeline.curation import pairs
from pipeline.imaging import variants


def test_the_libraries_keep_their_threads_until_the_end_of_the_block() -> None:
    ours = pairs.one_thread_each, variants.one_torch_thread
    with pytest.raises(ValueError, match="broken"), leave_threads():
        assert pairs.one_thread_each is variants.one_torch_thread is nullcontext
        raise ValueError("broken")
    assert (pairs.one_thread_each, variants.one_torch_thread) == ours


def test_what_keeps_the_machine_busy_ends() -> None:
    me = psutil.Process()
    before = set(me.children())
    with pytest.raises(ValueError, match="broken"), keep_busy(2):
        others = set(me.children()) - before
        assert len(others) == 2
        raise ValueError("broken")
    assert not any(other.is_running() for other in others)


def test_the_sides_take_turns() -> None:
    seen: list[bool] = []
    found = compare(lambda: seen.append(pairs.one_thread_each is nullcontext), 2)
    assert seen == [False, True] * 3 and list(found) == list(SIDES)
