"""The two kinds of store, and a video site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from padtrace.dataset.store import Store, open_store
from tests.flows.site import Site, open_site


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be: a folder, a prefix of a bucket."""
    if request.param == "folder":
        return str(tmp_path / "store")
    return f"{request.getfixturevalue('bucket')}/prefix"


@pytest.fixture
def store(place: str) -> Store:
    return open_store(place)


@pytest.fixture
def site() -> Iterator[Site]:
    """A video site on this machine."""
    with open_site() as opened:
        yield opened
