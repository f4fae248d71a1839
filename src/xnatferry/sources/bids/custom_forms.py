"""A custom form of XNAT (form.io) from the JSON sidecar of a BIDS table: one component for each custom field.

The keys are those of ``push --custom-fields``, so that XNAT's pages show what a push stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xnatferry.checks.sidecars import sidecar_at
from xnatferry.errors import DataError
from xnatferry.sources.bids.participants import custom_name, has_field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NUMERIC = ("Units", "Minimum", "Maximum")
_NUMBER_FORMATS = frozenset({"number", "integer", "float"})


def read_form(path: Path, title: str = "") -> dict[str, Any]:
    """The definition of a form for the columns that a sidecar describes.

    Columns with an XNAT field of their own (``age``, ``sex``) and dates of birth are left out.

    Args:
        path: ``participants.json``, or the sidecar of another table. Fields of ``phenotype/TOOL.json`` begin with the
            name of the tool.
        title: Title of the form; the name of the file if empty.

    Raises:
        DataError: The file is not a JSON object, or describes no column that becomes a custom field.
    """
    sidecar, findings = sidecar_at(path)
    if findings:
        raise DataError(f"{path}: {findings[0].message}")
    is_phenotype = path.absolute().parent.name == "phenotype"
    prefix = f"{path.stem}_" if is_phenotype else ""
    components = [
        _component(custom_name(prefix + column), column, about)
        for column, about in sidecar.items()
        if isinstance(about, dict) and (is_phenotype or not has_field(column))
    ]
    if not components:
        raise DataError(f"{path}: no form; the file describes no column that becomes a custom field")
    return {"display": "form", "title": title or f"BIDS {path.stem}", "settings": {}, "components": components}


def _component(key: str, column: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """A select for levels, a number for units or limits, else a text."""
    label = str(about.get("LongName") or about.get("Description") or column)
    component: dict[str, Any] = {"key": key, "label": label, "type": "textfield", "input": True, "tableView": True}
    levels = about.get("Levels")
    if about.get("Description"):
        component["description"] = str(about["Description"])
    if isinstance(levels, dict) and levels:
        values = [{"label": _label(level, told), "value": level} for level, told in levels.items()]
        return component | {"type": "select", "widget": "choicesjs", "dataSrc": "values", "data": {"values": values}}
    if about.get("Format") in _NUMBER_FORMATS or any(word in about for word in _NUMERIC):
        units = {"suffix": str(about["Units"])} if about.get("Units") else {}
        return component | {"type": "number"} | units
    return component


def _label(level: str, told: object) -> str:
    text = told.get("Description") if isinstance(told, dict) else told
    return f"{level}: {text}" if isinstance(text, str) and text else level
