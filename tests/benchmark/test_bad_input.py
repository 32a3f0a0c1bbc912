"""Each situation of benchmarks/bad_input.py and messages.py ends as its row says.

Every row is a process, so they are marked slow.
"""

import pytest

from bad_input import Finished, Row, areas, ended, last_line
from messages import MESSAGES

pytestmark = pytest.mark.scripts

ROWS = [*(row for rows in areas().values() for row in rows), *(message.row for message in MESSAGES)]


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.situation)
def test_bad_input_ends_in_one_clear_line(row):
    finished = ended(row)
    assert not row.problem(finished), finished.text


def test_a_row_notices_another_ending():
    row = Row("a situation", lambda folder: Finished(2, ""), 2, "use auto or cpu")
    assert not row.problem(Finished(2, "--device 'x' cannot be used here;\n use auto or cpu"))
    assert "exit code 1" in row.problem(Finished(1, "use auto or cpu"))
    assert "traceback" in row.problem(Finished(2, "Traceback (most recent call last): use auto or cpu"))
    assert "does not say" in row.problem(Finished(2, "use cuda"))


def test_the_last_line_is_a_table_cell_without_the_speed_of_the_machine():
    assert last_line("step 1\nstep 2  70 images/s  a | b\n\n") == "step 2  N images/s  a \\| b"
    assert last_line("step 1\nmixzoo: expected a name at character 1\n  :k=2\n  ^\n").startswith(
        "mixzoo: expected a name"
    )
