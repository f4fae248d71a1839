"""Sends an upload until its result is known, then checks that the server has it."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from xnatferry.errors import ConflictError, ForbiddenError, RefusedError, UnavailableError, VerifyError
from xnatferry.retry import pause_before_next
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xnatferry.client.local_content import Content
    from xnatferry.client.remote import Remote
    from xnatferry.xnat.records import RemoteFile


class UploadConfirmer:
    """Sends uploads to one site and verifies them.

    Args:
        remote: The site.
        pause: Waits some seconds; tests replace it.
    """

    def __init__(self, remote: Remote, pause: Callable[[float], None]) -> None:
        self._remote = remote
        self._pause = pause

    def send(
        self,
        resource: Address,
        names: frozenset[str],
        sent: Mapping[str, Content],
        send: Callable[[bool], list[str]],
        *,
        overwrite: bool,
    ) -> list[str]:
        """Send until the result is known; after a lost reply the listing is read before a repeat.

        Args:
            resource: The resource.
            names: Names of all files.
            sent: Size and MD5 of the files that were read so far.
            send: Sends it, replacing files or not.
            overwrite: Whether existing files may be replaced.

        Returns:
            Names of files that the server did not replace.

        Raises:
            RemoteError: It could not be sent.
        """
        before = {file.name for file in self._remote.list_files(resource)} if not overwrite else set()
        for attempt in count(1):
            try:
                return send(overwrite)
            except (UnavailableError, RefusedError) as error:
                self._pause(pause_before_next(error, attempt))
            held = {file.name: file for file in self._remote.list_files(resource)}
            if len(sent) == len(names) and all(_same(held.get(name), sent[name]) is True for name in names):
                return []
            # Bytes of the failed try may be on the server's disk; only files that existed before are protected.
            overwrite = overwrite or before.isdisjoint(names)
        raise AssertionError  # pragma: no cover  # count() does not end

    def confirmed(self, resource: Address, sent: Mapping[str, Content], kept: Sequence[str]) -> list[RemoteFile]:
        """Check that the server has *sent*; returns its listing, in the order of the names.

        Args:
            resource: The resource.
            sent: Size and MD5 of each file, by name.
            kept: Names of files that the server did not replace.

        Raises:
            ConflictError: It has other files of these names.
            VerifyError: Files are missing or differ.
        """
        held = self._settled(resource, sent)
        others = [name for name in kept if name in sent and not self._is(resource, held.get(name), sent[name])]
        if others:
            raise ConflictError(
                f"{resource}: other files exist on the server: {_some(others)}; "
                "nothing was replaced; use overwrite=True to replace them"
            )
        if missing := [name for name in sent if name not in held]:
            raise VerifyError(
                f"{resource}: not stored, although the server confirmed it: {_some(missing)}; "
                "check that the account can edit this project"
            )
        differing = [name for name, content in sent.items() if not self._is(resource, held[name], content, deep=False)]
        if differing:
            raise VerifyError(
                f"{resource}: files on the server differ from what was sent: {_some(differing)}; send them again"
            )
        return [held[name] for name in sorted(sent)]

    def _settled(self, resource: Address, sent: Mapping[str, Content]) -> dict[str, RemoteFile]:
        """The listing; read again after a refresh of the catalog when files are missing or digests may be old."""
        held = {file.name: file for file in self._remote.list_files(resource)}
        if any(_same(held.get(name), content) is False for name, content in sent.items()):
            try:
                self._remote.refresh_catalog(resource, ["append", "checksum", "populateStats"])
            except (ForbiddenError, RefusedError):
                return held
            held = {file.name: file for file in self._remote.list_files(resource)}
        return held

    def _is(self, resource: Address, held: RemoteFile | None, content: Content, *, deep: bool = True) -> bool:
        """Whether the server has *content*; without a listed MD5, *deep* downloads the file to compute it."""
        known = _same(held, content)
        if known is None and deep and held is not None:
            return self._remote.read_digest(resource.child(Level.FILE, held.name)) == content.digest
        return known is not False


def _same(held: RemoteFile | None, content: Content) -> bool | None:
    """Whether a listed file is *content*; None when the sizes agree and no digest is listed."""
    if held is None or held.size_bytes != content.size_bytes:
        return False
    return None if held.digest is None else held.digest == content.digest


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
