"""Names of parametrised tests: the same in every process, so that tests can be shared out."""

from __future__ import annotations

from hypothesis import settings

# How fast this computer is just now is no property of the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_make_parametrize_id(val: object) -> str | None:
    """A function is named by its name, not by its place in memory."""
    return val.__name__ if callable(val) and hasattr(val, "__name__") else None
