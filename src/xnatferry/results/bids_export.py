"""``pull --as bids``: selects the files of a dataset and their local paths.

Pushed datasets are restored by their manifests, with the original paths. Of a session without a manifest, files with
BIDS names are taken; the others are listed in a warning.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import listed
from xnatferry.errors import DataError, ForbiddenError, NotFoundError, RefusedError, VerifyError
from xnatferry.planning.plan import OnConflict, Refusal
from xnatferry.results.pull_plan import PullPlan, plan_pull
from xnatferry.results.remote_files import FileAt, FilesBelow, list_files_below, own_files
from xnatferry.sources.bids.names import BidsName, bids_schema, parse_name
from xnatferry.wording import counted
from xnatferry.xnat.bids_manifest import (
    MANIFEST_NAME,
    MANIFEST_RESOURCE,
    BidsFile,
    ManifestError,
    nested_in,
    read_manifest,
)
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from xnatferry.client.remote import Remote
    from xnatferry.xnat.gzip_stream import Content

#: If a suffix is allowed in several folders, the first of these is used.
_USUAL: Final = ("anat", "func", "dwi", "perf", "fmap", "pet", "meg", "eeg", "ieeg")
_DESCRIPTION: Final = "dataset_description.json"


@dataclass(slots=True)
class BidsExport:
    """The files of a dataset.

    Attributes:
        files: Files to download, with the pushed MD5 if the server lists none.
        places: Path of each below the folder of the dataset.
        refusals: Files of the dataset that are no longer on the server.
        warnings: One sentence each.
    """

    files: list[FileAt] = field(default_factory=list)
    places: dict[Address, tuple[str, ...]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def layout(self, address: Address) -> tuple[str, ...]:
        """The parts of a file's path below the dataset's folder."""
        return self.places[address]

    def add(self, held: FileAt, path: str, entry: BidsFile | None = None) -> None:
        """Take one file to *path*, which *entry* of a manifest is about."""
        file = held.file
        if file.digest is None and entry is not None and entry.digest:
            packed = entry.packed
            file = replace(file, content_digest=entry.digest) if packed else replace(file, digest=entry.digest)
        self.files.append(replace(held, file=file))
        self.places[held.address] = tuple(path.split("/"))


def plan_bids_pull(
    remote: Remote,
    address: Address,
    folder: Path,
    *,
    on_conflict: OnConflict = OnConflict.FAIL,
    workers: int = 8,
) -> PullPlan:
    """Find all files of a dataset, and compare them with *folder*.

    Args:
        remote: The server.
        address: A project; or a subject or session, with the files of the whole dataset.
        folder: The folder of the dataset; need not exist.
        on_conflict: What happens to local files that differ.
        workers: How many requests and local files are read at the same time.

    Raises:
        DataError: *address* is not one of them, or a manifest is not valid.
        NotFoundError: *address* does not exist.
    """
    held = list_files_below(remote, address, workers=workers)
    export = read_bids_export(remote, held.files, address, workers=workers)
    plan = plan_pull(
        FilesBelow(export.files, held.unplaced),
        folder,
        server=remote.connection.url,
        address=address,
        layout=export.layout,
        on_conflict=on_conflict,
        workers=workers,
        listed=held.files,
    )
    refusals, warnings = (*export.refusals, *plan.refusals), (*export.warnings, *plan.warnings)
    return replace(plan, refusals=refusals, warnings=warnings)


def read_bids_export(remote: Remote, held: Sequence[FileAt], address: Address, *, workers: int = 8) -> BidsExport:
    """Read the manifests at and below *address*, and select the files of the dataset.

    A subject or session includes the files of the whole dataset, such as its description.

    Args:
        remote: The server.
        held: All files at and below *address*.
        address: A project, subject or session.
        workers: How many manifests are read at the same time.

    Raises:
        DataError: *address* is not one of them, or a manifest is not valid.
        RemoteError: The server cannot be read.
    """
    if address.level not in {Level.PROJECT, Level.SUBJECT, Level.SESSION}:
        raise DataError(f"{address}: not a project, subject or session; --as bids needs one of them")
    everything = [*(own for above in address.ancestors() for own in own_files(remote, above)), *held]
    manifests = [one for one in everything if one.address.resource == MANIFEST_RESOURCE]
    with TemporaryDirectory() as folder:
        targets = [Path(folder) / str(number) / MANIFEST_NAME for number in range(len(manifests))]
        pairs = zip(manifests, targets, strict=True)
        found = thread_map(lambda pair: _manifest(remote, *pair), pairs, workers=workers)
        named = [(one.address, entries) for one, entries in zip(manifests, found, strict=True)]
    together = _together(named)
    places = {(owner, *_place(entry)) for owner, entries in together.items() for entry in entries if entry.packed}
    asked = [one for one in everything if one.file.digest is not None and _held_place(one) in places]
    read = thread_map(lambda one: _content(remote, one), asked, workers=workers)
    return bids_export(everything, together, dict(zip((one.address for one in asked), read, strict=True)))


def _together(manifests: Sequence[tuple[Address, list[BidsFile]]]) -> dict[Address, list[BidsFile]]:
    """The entries of the manifests of each object; results of a pipeline are below the dataset, if there is one."""
    several = len({address.file for address, _ in manifests}) > 1
    together: dict[Address, list[BidsFile]] = defaultdict(list)
    for address, entries in sorted(manifests, key=lambda one: one[0].file != MANIFEST_NAME):
        folder = nested_in(address.file or "") if several else ""
        known = {_place(entry) for entry in together[address.container]}  # of the manifests before
        moved = (replace(entry, path=folder + entry.path) if entry.path else entry for entry in entries)
        together[address.container] += [entry for entry in moved if _place(entry) not in known]
    return dict(together)


def _manifest(remote: Remote, held: FileAt, target: Path) -> list[BidsFile]:
    remote.fetch(held.address, held.file, target)
    try:
        return read_manifest(target.read_bytes())
    except ManifestError as error:
        raise DataError(f"{held.address}: {error}; use --as files instead") from error


def _content(remote: Remote, held: FileAt) -> Content | None:
    """What a gzip file unpacks to; None also where it cannot be fetched, which its own transfer will tell."""
    try:
        return remote.read_content(held.address, held.file.size_bytes)
    except (NotFoundError, ForbiddenError, RefusedError):
        return None


def bids_export(
    held: Sequence[FileAt],
    manifests: Mapping[Address, Sequence[BidsFile]],
    contents: Mapping[Address, Content | None] = MappingProxyType({}),
) -> BidsExport:
    """Say where files go, by the manifests of the projects, subjects and sessions that have one.

    Args:
        held: Every file.
        manifests: What the manifests say, by what they are about.
        contents: What files unpack to of which a manifest knows only that.
    """
    export = BidsExport()
    by_owner: dict[Address, list[FileAt]] = defaultdict(list)
    for one in held:
        if one.address.resource != MANIFEST_RESOURCE:
            by_owner[_owner(one.address)].append(one)
    others: list[FileAt] = []
    for owner, files in by_owner.items():
        if owner in manifests:
            others += _by_manifest(export, files, (owner, manifests[owner]), contents)
        elif owner.session is not None or not manifests:
            others += _by_names(export, files)
        else:
            others += files
    for owner, entries in manifests.items():
        if owner not in by_owner:
            _by_manifest(export, [], (owner, entries), contents)
    if others:
        names = [str(one.address) for one in others]
        export.warnings.append(
            f"not downloaded: {counted(len(names), 'file', 'are')} not part of a BIDS dataset: {listed(sorted(names))}"
        )
    return export


def _owner(address: Address) -> Address:
    """The project, subject or session that a file is in."""
    return Address(address.project, address.subject, address.session)


def _place(entry: BidsFile) -> tuple[str, str, str]:
    return entry.level, entry.resource, entry.name


def _held_place(one: FileAt) -> tuple[Address, str, str, str]:
    """What a file is in, and what a manifest of that calls its place."""
    owner = _owner(one.address)
    level = Level.SCAN if one.address.scan is not None else owner.level
    return owner, level.value, one.address.resource or "", one.address.file or ""


def _by_manifest(
    export: BidsExport,
    files: Iterable[FileAt],
    manifest: tuple[Address, Iterable[BidsFile]],
    contents: Mapping[Address, Content | None],
) -> list[FileAt]:
    """Take the files of one manifest; returns those that it does not name."""
    owner, entries = manifest
    there: dict[tuple[Address, str, str, str], list[FileAt]] = defaultdict(list)
    for one in files:
        there[_held_place(one)].append(one)
    changed: list[str] = []
    others: list[FileAt] = []
    by_place: dict[tuple[str, str, str], list[BidsFile]] = defaultdict(list)
    for entry in entries:
        by_place[_place(entry)].append(entry)
    folders = _folders_of_scans(owner, by_place, there)
    # Files that differ in size first: they tell which folder a scan is of.
    for place, named in sorted(
        by_place.items(), key=lambda one: len({entry.size_bytes for entry in one[1]}) < len(one[1])
    ):
        found = there.pop((owner, *place), [])
        chosen = _matched(named, found, folders, contents)
        if len(found) > len(named):
            others += [one for one in found if one not in chosen.values()]
        for entry in named:
            if not entry.path:
                continue
            match = chosen.get(entry)
            if match is None:
                why = f"in the manifest of {owner}, but no longer on the server"
                refusal = Refusal(entry.path, (why,), Path(entry.path), exit_code=VerifyError.exit_code)
                export.refusals.append(refusal)
                continue
            if not _is_as_pushed(match, entry, contents):
                changed.append(entry.path)
            export.add(match, entry.path, entry)
    if changed:
        names = listed(sorted(changed))
        export.warnings.append(f"{counted(len(changed), 'file', 'were')} changed on the server since the push: {names}")
    return [*others, *(one for rest in there.values() for one in rest)]


def _folders_of_scans(
    owner: Address,
    by_place: Mapping[tuple[str, str, str], Sequence[BidsFile]],
    there: Mapping[tuple[Address, str, str, str], Sequence[FileAt]],
) -> dict[str | None, set[str]]:
    """The folders of the dataset that each scan has files of, by the files whose name no other scan has."""
    folders: dict[str | None, set[str]] = defaultdict(set)
    for place, named in by_place.items():
        found = there.get((owner, *place), ())
        if len(named) == len(found) == 1:
            folders[found[0].address.scan].add(named[0].path.rpartition("/")[0])
    return folders


def _matched(
    named: Sequence[BidsFile],
    found: Sequence[FileAt],
    folders: dict[str | None, set[str]],
    contents: Mapping[Address, Content | None],
) -> dict[BidsFile, FileAt]:
    """The file of each entry: scans of one session may have files of one name, as ``events.tsv`` of fMRI and EEG.

    A manifest has no scan IDs. What tells them apart is, in this order: the MD5, the folder of the scan's other files,
    and the size. *folders* is completed.
    """
    pairs = [
        ((known and same, entry.path.rpartition("/")[0] in folders.get(one.address.scan, ()), same), entry, one)
        for entry in named
        if entry.path
        for one in found
        for known, same in [(one.file.digest is not None, _is_as_pushed(one, entry, contents))]
    ]
    chosen: dict[BidsFile, FileAt] = {}
    taken: set[Address] = set()
    for (sure, _, same), entry, one in sorted(pairs, key=lambda pair: pair[0], reverse=True):
        if entry not in chosen and one.address not in taken:
            chosen[entry] = one
            taken.add(one.address)
            if sure or same:
                folders.setdefault(one.address.scan, set()).add(entry.path.rpartition("/")[0])
    return chosen


def _is_as_pushed(one: FileAt, entry: BidsFile, contents: Mapping[Address, Content | None]) -> bool:
    """Whether a file still is what its manifest says, as far as that is known before it is fetched."""
    if not entry.packed:
        return (one.file.size_bytes, one.file.digest or entry.digest) == (entry.size_bytes, entry.digest)
    content = contents.get(one.address)
    if one.file.digest is None:
        return True
    return content is not None and (content.size_bytes, content.digest) == (entry.size_bytes, entry.digest)


def _by_names(export: BidsExport, files: Sequence[FileAt]) -> list[FileAt]:
    """Add the files with BIDS names of a session without manifest; returns the others."""
    left: list[FileAt] = []
    by_scan: dict[str | None, list[FileAt]] = defaultdict(list)
    for one in files:
        by_scan[one.address.scan].append(one)
    taken = set(export.places.values())
    for inside in by_scan.values():
        names = [parse_name((one.address.file or "").rsplit("/", 1)[-1]) for one in inside]
        datatype = _datatype(names)
        for one, name in zip(inside, names, strict=True):
            path = _path(one, name, datatype)
            if path is None or tuple(path.split("/")) in taken:
                left += [one] if path != _DESCRIPTION else []
                continue
            taken.add(tuple(path.split("/")))
            export.add(one, path)
    return left


def _datatype(names: Iterable[BidsName | None]) -> str | None:
    """The folder of a scan, by the suffix of its image."""
    known = bids_schema().datatypes_of
    for name in names:
        if name is not None and name.extension in {".nii", ".nii.gz"} and name.suffix in known:
            fitting = known[name.suffix]
            return next((usual for usual in _USUAL if usual in fitting), fitting[0])
    return None


def _path(held: FileAt, name: BidsName | None, datatype: str | None) -> str | None:
    last = (held.address.file or "").rsplit("/", 1)[-1]
    if last == _DESCRIPTION and held.address.resource == "BIDS":
        return _DESCRIPTION
    if name is None or (subject := name.label("sub")) is None:
        return None
    session = name.label("ses")
    folder = f"sub-{subject}" + (f"/ses-{session}" if session is not None else "")
    if name.suffix == "scans":
        return f"{folder}/{last}"
    known = bids_schema().datatypes_of.get(name.suffix, ())
    if datatype is None and len(known) == 1:
        datatype = known[0]
    return f"{folder}/{datatype}/{last}" if datatype is not None and known else None
