"""The suite itself: what its tests rely on."""

import os

import pytest


@pytest.mark.xdist_group("roof")
def test_groups_of_tests_stay_on_one_worker(request):
    """xdist does so by the node's id, and silently not at all where a release of pytest changes how."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@roof")
    else:
        assert "@" not in request.node.nodeid
