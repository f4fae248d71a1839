"""Groups files of a pull that are downloaded as one zip: one by one, 1.8.11 sends 2 small files per second. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from xnatferry.results.pull_plan import PullFile, PullPlan
    from xnatferry.xnat.model import Address

#: Fewer files of one resource or session are downloaded one by one.
_LEAST_FILES = 4
#: Files that are larger on average, in bytes, are downloaded one by one: in parallel, and each can be resumed.
_LARGE_BYTES = 4 << 20
#: A zip may contain this many times the bytes of the files to download.
_WASTE = 2
#: Limits of files in one request, for which the number of workers decides; and of a URL, which servers limit to 8 kB.
_FEWEST_A_BATCH, _MOST_A_BATCH = 50, 500
_LONGEST_PATH = 4000
#: Accession ID of the session in the URI of a file.
_SESSION_ID = re.compile(r"/data/experiments/([^/,]+)/scans/")


@dataclass(frozen=True, slots=True)
class ZipBatch:
    """Files that are downloaded as one zip.

    Attributes:
        path: URL path of the zip.
        files: The files to take from it.
    """

    path: str
    files: tuple[PullFile, ...]

    def index(self) -> MemberIndex:
        """Finds the file for the name of a member."""
        return MemberIndex(self.files)


class MemberIndex:
    """Files by the names of their members in a zip: ``SESSION[/scans/ID-TYPE]/resources/LABEL/files/PATH``.

    XNAT makes these names by replacing text in URLs, so a name can be different. A file that is not found here is
    downloaded alone.
    """

    def __init__(self, files: Iterable[PullFile]) -> None:
        self._files: dict[tuple[str, str | None, str], PullFile] = {}
        for file in files:
            at = file.address
            owner = at.session or at.subject or at.project
            self._files[owner, at.scan, f"{at.resource}/files/{at.file}"] = file
        owners = {owner for owner, _, _ in self._files}
        #: A session that is shared under another label has its own label in the zip.
        self._only_owner = owners.pop() if len(owners) == 1 else None

    def find(self, member: str) -> PullFile | None:
        """The file of a member; None if it is not in the batch, or if two files fit."""
        place, _, rest = member.partition("/resources/")
        owner, _, below = place.partition("/")
        kind, _, last = below.partition("/")
        # The type of a scan contains no "-": XNAT replaces all characters except letters, digits and "_".
        scans = {last, last.rpartition("-")[0]} if kind == "scans" else {None}
        found = [
            file for scan in scans if (file := self._files.get((self._only_owner or owner, scan, rest))) is not None
        ]
        return found[0] if len(found) == 1 else None


def zip_batches(plan: PullPlan, workers: int, url_path: Callable[[Address], str]) -> list[ZipBatch]:
    """The files of a plan that are downloaded faster together.

    One request returns the scans of several sessions, by accession IDs. Each other resource is one request.

    Args:
        plan: The plan.
        workers: How many requests are sent at the same time.
        url_path: Returns the URL path of an object.
    """
    scans: dict[str, list[PullFile]] = defaultdict(list)
    resources: dict[Address, list[PullFile]] = defaultdict(list)
    fetched = plan.fetched
    for file in fetched:
        found = _SESSION_ID.match(file.held.uri)
        if file.address.scan is not None and found is not None and plan.address.resource is None:
            scans[found[1]].append(file)
        else:
            resources[replace(file.address, file=None)].append(file)
    most = min(_MOST_A_BATCH, max(_FEWEST_A_BATCH, -(-len(fetched) // workers)))
    listed: dict[Address, int] = defaultdict(int)
    for resource, size in plan.listed_bytes.items():
        listed[resource.container] += size
    alike: dict[str, dict[str, list[PullFile]]] = defaultdict(dict)
    for session, files in scans.items():
        if _worth(files, sum(listed[scan] for scan in {file.address.container for file in files})):
            alike[",".join(sorted({file.address.scan or "" for file in files}))][session] = files
    batches = [batch for ids, sessions in alike.items() for batch in _together(ids, sessions, most)]
    worth = [one for one, files in resources.items() if _worth(files, plan.listed_bytes.get(one, 0))]
    return [*batches, *(ZipBatch(f"{url_path(one)}/files", tuple(resources[one])) for one in worth)]


def resource_batches(files: Iterable[PullFile], url_path: Callable[[Address], str]) -> list[ZipBatch]:
    """One zip per resource, for files that the server does not return alone."""
    resources: dict[Address, list[PullFile]] = defaultdict(list)
    for file in files:
        resources[replace(file.address, file=None)].append(file)
    return [ZipBatch(f"{url_path(resource)}/files", tuple(found)) for resource, found in resources.items()]


def _worth(files: Sequence[PullFile], listed_bytes: int) -> bool:
    wanted = sum(file.held.size_bytes for file in files)
    return len(files) >= _LEAST_FILES and wanted <= _LARGE_BYTES * len(files) and listed_bytes <= _WASTE * wanted


def _together(scan_ids: str, sessions: dict[str, list[PullFile]], most: int) -> Iterator[ZipBatch]:
    """Batches of sessions with the same scans, as large as one request allows."""
    ids: list[str] = []
    files: list[PullFile] = []
    for session, own in sessions.items():
        length = len(scan_ids) + len(session) + sum(len(one) + 1 for one in ids)
        if ids and (len(files) + len(own) > most or length > _LONGEST_PATH):
            yield _scans_batch(ids, scan_ids, files)
            ids, files = [], []
        ids.append(session)
        files += own
    if ids:
        yield _scans_batch(ids, scan_ids, files)


def _scans_batch(sessions: Sequence[str], scan_ids: str, files: Sequence[PullFile]) -> ZipBatch:
    return ZipBatch(f"/data/experiments/{','.join(sessions)}/scans/{scan_ids}/files", tuple(files))
