"""What holds for all tests: names that are the same in every process, and examples that are the same in every run."""

from __future__ import annotations

import os

from hypothesis import settings

# How fast this computer is just now is no property of the code. New examples are looked for by `make torture`; a plain
# run tries the same ones each time, so that it fails for what was changed and not by chance.
settings.register_profile("unhurried", deadline=None, derandomize="XNATFERRY_TORTURE" not in os.environ)
settings.load_profile("unhurried")


def pytest_make_parametrize_id(val: object) -> str | None:
    """A function is named by its name, not by its place in memory."""
    return val.__name__ if callable(val) and hasattr(val, "__name__") else None
