"""Tables of XNAT's names and sentences, from ``data/xnat_tables.toml``."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any, Final

XNAT_TABLES: Final[dict[str, dict[str, Any]]] = tomllib.loads(
    files("xnatferry.server").joinpath("data", "xnat_tables.toml").read_text(encoding="utf-8")
)
