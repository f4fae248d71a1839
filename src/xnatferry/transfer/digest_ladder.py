"""Finds digests of files on a server, for plans, verification, undo and backups.

Kinds of evidence, from the cheapest to the most expensive; `HeldFile.evidence` names the one that was used:

1. the MD5 in the listing (XNAT 1.8 with checksums enabled, which updates it with every upload);
2. the MD5 in the catalog document of the resource (1.6.4, whose listings have none). 1.6.4 keeps the MD5 of replaced
   bytes, so the MD5 of an entry that is marked as modified is ignored (recorded);
3. the MD5 that the server computes when its catalog is refreshed, if the account has the permission;
4. size and name;
5. the bytes themselves, fetched and hashed, if the caller asks for it.

The server computes a digest when it receives the bytes. A file that was changed on the disk of the server later is
detected only by the last kind. `xnatferry.planning.file_comparison` compares the content of gzip files.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from xnatferry.errors import NotFoundError, RefusedError, RemoteError, UnavailableError
from xnatferry.planning.remote_state import LISTED, HeldFile

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from xnatferry.transfer.destination import Destination
    from xnatferry.xnat.model import Address
    from xnatferry.xnat.records import RemoteFile

__all__ = [
    "BY_SIZE",
    "COMPUTED",
    "FETCHED",
    "IN_CATALOG",
    "LISTED",
    "REPLACED",
    "DigestLadder",
    "held_file",
    "resources_of",
]

IN_CATALOG = "digest in the catalog document"
COMPUTED = "digest computed by the server when asked"
FETCHED = "bytes fetched and hashed"
BY_SIZE = "size and name; the server gives no digest"
REPLACED = "size and name; the server gives the digest of bytes that were replaced"

#: The server has no digest, or one that is older than the bytes.
NO_DIGEST = frozenset([BY_SIZE, REPLACED])

Held = dict["Address", HeldFile]


class DigestLadder:
    """Finds digests that are not in listings, and remembers what the server does not offer. Thread-safe.

    Args:
        destination: The server.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._first_try = threading.Lock()
        self._documents_have_digests = True
        self._server_computes: bool | None = None

    def listed(self, address: Address, *, all_scans: bool = False) -> Held:
        """One listing, by address; empty if the container of the files does not exist.

        Args:
            address: A resource, an object with all its resources, or a session, for the files of its scans.
            all_scans: Whether to list the files of the scans of a session.

        Raises:
            RemoteError: The server cannot be read.
        """
        try:
            files = self._destination.list_files(address, all_scans=all_scans)
        except NotFoundError as error:
            if error.status is None:  # the server itself is not found
                raise
            return {}
        return {
            replace(
                address, scan=file.scan if all_scans else address.scan, resource=file.resource, file=file.name
            ): held_file(file)
            for file in files
        }

    def climb(self, held: Held, wanted: Iterable[Address], *, fetch: Container[str] = (), compute: bool = True) -> None:
        """Add to *held* the digests of *wanted* that are missing.

        Args:
            held: What the server lists; changed in place.
            wanted: Addresses of files; those that are not in *held* are ignored.
            fetch: Kinds of evidence of which the bytes are downloaded at the end.
            compute: Whether the server may compute digests, which changes its catalogs.

        Raises:
            RemoteError: The server cannot be read.
        """
        wanted = list(wanted)
        if self._documents_have_digests and (without_digest := _without_digest(held, wanted)):
            found = self._documented(without_digest)
            self._documents_have_digests = self._documents_have_digests and bool(found)
            _note(found, IN_CATALOG, without_digest, held)
        if compute and self._server_computes is not False and (without_digest := _without_digest(held, wanted)):
            if self._server_computes is None:
                with self._first_try:  # the other threads wait until one knows whether the server does this
                    found = self._computed(without_digest) if self._server_computes is not False else {}
            else:
                found = self._computed(without_digest)
            _note(found, COMPUTED, without_digest, held)
        for address in _without_digest(held, wanted):
            if held[address].evidence in fetch and (digest := self.read(address)) is not None:
                held[address] = HeldFile(held[address].size_bytes, digest, FETCHED)

    def digests(self, sizes: Mapping[Address, int], *, compute: bool = True) -> dict[Address, str]:
        """Digests of files that have none in listings; files with the digest of replaced bytes are downloaded.

        Args:
            sizes: The files with their sizes in bytes, as listed.
            compute: See `climb`.

        Raises:
            RemoteError: The server cannot be read.
        """
        held = {address: HeldFile(size, None, BY_SIZE) for address, size in sizes.items()}
        self.climb(held, sizes, fetch={REPLACED}, compute=compute)
        return {address: file.digest for address, file in held.items() if file.digest is not None}

    def read(self, address: Address) -> str | None:
        """MD5 of a file, downloaded and not stored; None if this is not possible."""
        try:
            return self._destination.read_digest(address)
        except (NotFoundError, RefusedError):
            return None

    def refresh(self, resource: Address, *options: str) -> bool:
        """Refresh the catalog with *options*; False when this is not permitted or not offered."""
        try:
            self._destination.refresh_catalog(resource, options)
        except UnavailableError:
            raise
        except RemoteError:
            return False
        return True

    def _computed(self, without_digest: Iterable[Address]) -> dict[Address, str | None]:
        """Digests that the server computes on request."""
        refreshed = [resource for resource in resources_of(without_digest) if self.refresh(resource, "checksum")]
        fresh = {a: held.digest for resource in refreshed for a, held in self.listed(resource).items() if held.digest}
        found: dict[Address, str | None] = {**fresh} or (self._documented(without_digest) if refreshed else {})
        self._server_computes = any(found.values())
        return found

    def _documented(self, without_digest: Iterable[Address]) -> dict[Address, str | None]:
        """Digests in the catalog documents of some files; None for those of replaced bytes."""
        found: dict[Address, str | None] = {}
        for resource in resources_of(without_digest):
            try:
                digests = self._destination.list_digests(resource)
            except UnavailableError:
                raise
            except RemoteError:
                continue
            found |= {replace(resource, file=name): digest for name, digest in digests.items()}
        return found


def held_file(file: RemoteFile) -> HeldFile:
    """The file in one row of a listing."""
    return HeldFile(file.size_bytes, file.digest, LISTED if file.digest else BY_SIZE)


def resources_of(files: Iterable[Address]) -> list[Address]:
    """The resources of *files*, without duplicates, in order."""
    return list(dict.fromkeys(replace(address, file=None) for address in files))


def _without_digest(held: Held, wanted: Iterable[Address]) -> list[Address]:
    return [address for address in wanted if address in held and held[address].digest is None]


def _note(found: Mapping[Address, str | None], evidence: str, without_digest: Iterable[Address], held: Held) -> None:
    for address in without_digest:
        if address in found:
            digest = found[address]
            held[address] = HeldFile(held[address].size_bytes, digest, REPLACED if digest is None else evidence)
