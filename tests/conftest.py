"""What holds for every test."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def error_logs_fail_the_test(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A run that logs an ERROR did not go well, whatever it returned."""
    yield
    errors = [
        f"{record.name}: {record.getMessage()}"
        for phase in ("setup", "call")
        for record in caplog.get_records(phase)
        if record.levelno >= logging.ERROR
    ]
    assert not errors, f"the test logged errors: {errors}"
