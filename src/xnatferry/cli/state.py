"""Where runs are kept: ``XNATFERRY_STATE``, else the user's state folder."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["runs_folder"]


def runs_folder() -> Path:
    """The folder with one folder a run."""
    named = os.environ.get("XNATFERRY_STATE")
    if named:
        return Path(named) / "runs"
    from platformdirs import user_state_path

    return user_state_path("xnatferry", appauthor=False) / "runs"
