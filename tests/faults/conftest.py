"""What several tests of faults share."""

import pytest
from forked import Server, build_shim


@pytest.fixture(scope="module")
def shimmed_server(tmp_path_factory):
    """A fork server whose processes' calls can be made to fail."""
    shim = build_shim(tmp_path_factory.mktemp("shim"))
    if shim is None:  # the shim is a C library, compiled here
        pytest.skip("no C compiler for tests/faults/shim.c")
    with Server(shim) as server:
        yield server
