"""What is measured on the exam: each interval counts the groups that its figure rests on."""

import math

from exam_sheets import answers_of

from pipeline.release.measuring import measure_challenger

DRAWS = 200


def test_a_single_group_of_newcomers_has_a_figure_and_no_interval():
    champion = answers_of("champion", wrong=0.2, groups=24, new=1)
    found = measure_challenger(champion, champion, draws=DRAWS).newcomers
    assert found is not None
    assert not math.isnan(found.value)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_newcomers_with_one_settled_group_have_an_interval_of_their_own():
    champion = answers_of("champion", wrong=0.2, groups=1, new=24)
    measures = measure_challenger(champion, champion, draws=DRAWS)
    assert (measures.groups, measures.new_groups) == (1, 24)
    assert measures.newcomers is not None
    assert measures.newcomers.low < measures.newcomers.value < measures.newcomers.high
    assert math.isnan(measures.own["macro_f1"].low)
    own = measures.own["with_newcomers"]
    assert own.low < own.value < own.high
