"""The table of known scores holds."""

import pytest

from metric_scores import Expected, exactly, expectations, scores_of

pytestmark = pytest.mark.scripts


@pytest.mark.slow
@pytest.mark.parametrize("row", list(expectations()), ids=lambda row: f"{row.metric} {row.score} of {row.of}")
def test_a_score_that_is_known_is_as_expected(row):
    assert row.low <= scores_of(row.metric, row.of)[row.score] <= row.high


def test_expectations_are_printed_as_a_number_or_a_range():
    assert str(exactly("knn", "test_accuracy", "codes perfect", 1)) == "1"
    assert str(Expected("sap", "svm", "factors perfect", 0.1, 0.7)) == "0.1 to 0.7"
