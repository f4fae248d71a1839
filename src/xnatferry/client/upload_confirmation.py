"""An upload is done when the server holds what was sent: sent until its outcome is known, then looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xnatferry.errors import ConflictError, ForbiddenError, RefusedError, UnavailableError, VerifyError
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xnatferry.client.local_content import Content
    from xnatferry.client.remote import Remote
    from xnatferry.xnat.records import RemoteFile

__all__ = ["UploadConfirmer"]

#: Tries of one upload, the first included.
ATTEMPTS = 4
#: Seconds before the second try; doubled each time.
FIRST_PAUSE_S = 1.0


class UploadConfirmer:
    """Sends what goes to one site and proves that it is there.

    Args:
        remote: The site.
        pause: Waits some seconds; tests hand in their own.
    """

    def __init__(self, remote: Remote, pause: Callable[[float], None]) -> None:
        self._remote = remote
        self._pause = pause

    def persist(
        self,
        resource: Address,
        names: frozenset[str],
        sent: Mapping[str, Content],
        send: Callable[[bool], list[str]],
        *,
        overwrite: bool,
    ) -> list[str]:
        """Send until the outcome is known. A reply that was lost may stand for a file that arrived: look first.

        Args:
            resource: Where it goes.
            names: Every file that is sent.
            sent: What each of them is, as far as it has been read.
            send: Sends it, replacing files or not.
            overwrite: Whether files that were there before may be replaced.

        Returns:
            Names under which the server says that it kept other files.

        Raises:
            RemoteError: It could not be delivered.
        """
        before = {file.name for file in self._remote.list_files(resource)} if not overwrite else set()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return send(overwrite)
            except (UnavailableError, RefusedError) as error:
                if attempt == ATTEMPTS or (isinstance(error, RefusedError) and error.status != 500):
                    raise
                asked = error.retry_after_s if isinstance(error, UnavailableError) else None
                self._pause(max(FIRST_PAUSE_S * 2 ** (attempt - 1), asked or 0.0))
            held = {file.name: file for file in self._remote.list_files(resource)}
            if len(sent) == len(names) and all(_same(held.get(name), sent[name]) is True for name in names):
                return []
            # Bytes of the failed try may lie on the server's disk; only what was there before is protected.
            overwrite = overwrite or before.isdisjoint(names)
        raise AssertionError  # pragma: no cover  # the loop returns or raises

    def confirmed(self, resource: Address, sent: Mapping[str, Content], kept: Sequence[str]) -> list[RemoteFile]:
        """Look at what the server holds of *sent*; returns its listing, in the order of the names.

        Args:
            resource: Where the files are.
            sent: What each of them is, by name.
            kept: Names under which the server said that it kept other files.

        Raises:
            ConflictError: It did keep others.
            VerifyError: It lists fewer, or something else.
        """
        held = self._settled(resource, sent)
        others = [name for name in kept if name in sent and not self._is(resource, held.get(name), sent[name])]
        if others:
            raise ConflictError(
                f"{resource}: the server keeps other files under {_some(others)}; "
                "nothing was replaced; say overwrite=True to replace them"
            )
        if missing := [name for name in sent if name not in held]:
            raise VerifyError(
                f"{resource}: the server answered that all is well and lists no {_some(missing)}; "
                "has the account the right to edit this project?"
            )
        differing = [name for name, content in sent.items() if not self._is(resource, held[name], content, deep=False)]
        if differing:
            raise VerifyError(f"{resource}: the server holds something else under {_some(differing)} than was sent")
        return [held[name] for name in sorted(sent)]

    def _settled(self, resource: Address, sent: Mapping[str, Content]) -> dict[str, RemoteFile]:
        """The listing; read again after a refresh of the catalog where files are missing or digests may be stale."""
        held = {file.name: file for file in self._remote.list_files(resource)}
        if any(_same(held.get(name), content) is False for name, content in sent.items()):
            try:
                self._remote.refresh_catalog(resource, ["append", "checksum", "populateStats"])
            except (ForbiddenError, RefusedError):
                return held
            held = {file.name: file for file in self._remote.list_files(resource)}
        return held

    def _is(self, resource: Address, held: RemoteFile | None, content: Content, *, deep: bool = True) -> bool:
        """Whether the server holds *content*; where it lists no digest, its bytes are fetched and hashed if *deep*."""
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
