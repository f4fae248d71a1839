"""Finds the scan for an image without a given number, by the scans on the server."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from xnatferry.planning.placement import Placement, identifying_files, next_free
from xnatferry.sources.model import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from xnatferry.planning.remote_state import HeldFile, RemoteSession, RemoteState
    from xnatferry.sources.model import LocalFile

    Same = Callable[[Placement, LocalFile, HeldFile, tuple[str, str, str]], bool]
    """Whether what is held in a scan, a resource of it and under a name has the contents of a file of a source."""

    Find = Callable[[Sequence[Placement]], str | None]


def settle_scan_numbers(
    placements: Sequence[Placement], remote: RemoteState, same: Sequence[Same], *, gzip: bool
) -> list[Placement]:
    """Number every scan without a given number; each scan on the server is used once.

    *same* are ways to compare, the cheapest first: a dearer one is used for what is left by those before.

    First the scan that holds its very bytes; then one that holds them in another resource, or compressed where they are
    not now, or the reverse; then one that holds a file of its name (it changed since); then one that an interrupted
    push made for it and left empty; then the next free number. So two images of one name in a session, from two
    folders say, find their own scans again.
    """
    by_session: dict[str, list[Placement]] = defaultdict(list)
    for item in placements:
        by_session[item.session].append(item)
    settled: dict[int, Placement] = {}
    for session, items in by_session.items():
        there = remote.sessions.get(session)
        if there is None:
            continue
        groups = _scans_of(items)
        numbers = _numbers(groups, there, {item.scan or "" for item in items if item.numbered}, same, gzip=gzip)
        for group, scan in zip(groups, numbers, strict=True):
            settled.update((id(item), replace(item, scan=scan)) for item in group if item.scan != scan)
    return [settled.get(id(item), item) for item in placements]


def _scans_of(items: Iterable[Placement]) -> list[list[Placement]]:
    """Placements of one scan, for scans without a given number."""
    groups: dict[object, list[Placement]] = defaultdict(list)
    for item in items:
        if item.on_scan and not item.numbered:
            groups[item.group or id(item)].append(item)
    return list(groups.values())


def _numbers(
    groups: Sequence[Sequence[Placement]],
    there: RemoteSession,
    claimed: set[str],
    same: Sequence[Same],
    *,
    gzip: bool,
) -> list[str]:
    holders: dict[tuple[str, str], dict[str, HeldFile]] = defaultdict(dict)
    for (scan, resource, name), held in there.files.items():
        if scan is not None:
            holders[resource, name][scan] = held
    full = {scan for scan, _, _ in there.files}
    empty = {scan: fields for scan, fields in there.scans.items() if scan not in full | claimed}
    found: dict[int, str] = {}
    given = set(claimed)
    finders: list[Find] = [
        *(partial(_held_scan, holders=holders, given=given, same=one, gzip=gzip) for one in same),
        *(partial(_image_elsewhere, there=there, given=given, same=one) for one in same),
        partial(_held_scan, holders=holders, given=given, same=None, gzip=gzip),
    ]
    for find in finders:
        for index, group in enumerate(groups):
            if index not in found:
                scan = find(group)
                if scan is not None:
                    found[index] = scan
                    given.add(scan)
    taken = set(there.scans) | given
    for index, group in enumerate(groups):
        if index not in found:
            scan = _made_for(group[0], empty) or next_free(taken)
            empty.pop(scan, None)
            taken.add(scan)
            found[index] = scan
    return [found[index] for index in range(len(groups))]


def _held_scan(
    group: Sequence[Placement],
    holders: Mapping[tuple[str, str], Mapping[str, HeldFile]],
    given: set[str],
    same: Same | None,
    *,
    gzip: bool,
) -> str | None:
    """An unused scan with the image of *group* by name, and by content if *same* is given."""
    for item in group:
        files = {(item.resource, item.name_of(file, gzip=gzip)): file for file in identifying_files(item.source)}
        held = [holders.get(place, {}) for place in files]
        for scan in sorted(set[str](held[0]).intersection(*held[1:]) - given if held else (), key=_natural):
            if same is None or all(
                same(item, file, holders[place][scan], (scan, *place)) for place, file in files.items()
            ):
                return scan
    return None


def _image_elsewhere(group: Sequence[Placement], there: RemoteSession, given: set[str], same: Same) -> str | None:
    """An unused scan with the image of *group* in any resource, compressed or not, with equal MD5."""
    for item in group:
        if item.source.kind is not Kind.NIFTI:
            continue
        image = identifying_files(item.source)[-1]  # of a pair, the voxels
        names = {image.name, item.name_of(image, gzip=True)}
        for (scan, label, name), held in sorted(there.files.items(), key=lambda entry: _natural(entry[0][0] or "")):
            if scan is None or scan in given or name not in names or held.digest is None:
                continue
            if same(item, image, held, (scan, label, name)):
                return scan
    return None


def _made_for(item: Placement, empty: Mapping[str, Mapping[str, str]]) -> str | None:
    """The first empty scan with the type and series description of this image."""
    words = ("type", "series_description")
    expected = {word: item.scan_fields[word] for word in words if word in item.scan_fields}
    return next(
        (scan for scan, fields in empty.items() if all(fields.get(w, v) == v for w, v in expected.items())), None
    )


def _natural(scan: str) -> tuple[int, int, str]:
    return (0, int(scan), scan) if scan.isdecimal() and scan.isascii() else (1, 0, scan)
