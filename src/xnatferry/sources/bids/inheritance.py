"""Metadata files in folders above the data (BIDS, the inheritance principle).

A file applies to all data below its folder that has its suffix and at least its entities; a file that is nearer,
or has more entities, overrides one that is higher. No file is moved: the result is for XNAT's fields.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from xnatferry.checks.sidecars import sidecar_at
from xnatferry.sources.bids.names import BidsName, parse_name, split_extension

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from xnatferry.sources.bids.scan_grouping import Unit
    from xnatferry.sources.folder_walk import Entry
    from xnatferry.sources.model import Finding


class Inheritance:
    """All files of a dataset by place and suffix; metadata files are read once each."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._by_place: dict[tuple[str, str, str], list[tuple[frozenset[tuple[str, str]], Entry]]] = defaultdict(list)
        self._read: dict[str, dict[str, Any]] = {}
        for entry in entries:
            stem, extension = split_extension(entry.name)
            name = parse_name(entry.name) or BidsName((), stem, extension)
            self._by_place[entry.folder, name.suffix, extension].append((name.without(), entry))

    def applicable(self, unit: Unit, extension: str, *, suffix: str = "") -> list[Entry]:
        """The files that say something about *unit*, what counts most last; with *suffix* those of another suffix."""
        return [entry for fitting in self._by_folder(unit, extension, suffix or unit.name.suffix) for entry in fitting]

    def _by_folder(self, unit: Unit, extension: str, suffix: str) -> Iterator[list[Entry]]:
        """The files that apply to *unit*, from the root to its own folder."""
        entities = unit.name.without()
        steps = unit.folder.split("/")
        for depth in range(len(steps) + 1):
            here = self._by_place.get(("/".join(steps[:depth]), suffix, extension), ())
            fitting = [(len(said), entry.relative, entry) for said, entry in here if said <= entities]
            yield [entry for _, _, entry in sorted(fitting, key=lambda item: item[:2])]

    def rivals(self, unit: Unit) -> list[list[str]]:
        """Names of metadata files of one folder that apply to *unit*, where BIDS allows one or the unit's own."""
        found_rivals = []
        for extension in (".json", ".bval", ".bvec"):
            for fitting in self._by_folder(unit, extension, unit.name.suffix):
                names = [entry.name for entry in fitting]
                if len(names) > 1 and f"{unit.name.stem}{extension}" not in names:
                    found_rivals.append(names)
        return found_rivals

    def nearest(self, unit: Unit, extension: str) -> Path | None:
        """The one gradient table that counts."""
        files = self.applicable(unit, extension)
        return files[-1].path if files and files[-1].problem is None else None

    def sidecar_of(self, unit: Unit, *, without: Collection[str] = ()) -> dict[str, Any]:
        """Everything that sidecars say of *unit*, but those at *without*; files that cannot be read are skipped."""
        merged: dict[str, Any] = {}
        for entry in self.applicable(unit, ".json"):
            if entry.relative in without:
                continue
            if entry.relative not in self._read:
                self._read[entry.relative] = read_object(entry)[0]
            merged.update(self._read[entry.relative])
        return merged


def read_object(entry: Entry) -> tuple[dict[str, Any], list[Finding]]:
    """The JSON object in a file, empty where there is none; what is wrong with it."""
    return ({}, []) if entry.problem is not None else sidecar_at(entry.path)


def merged_text(sidecar: Mapping[str, Any]) -> bytes:
    """A sidecar as a file of its own, for tools that look beside the image only."""
    return (json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n").encode()
