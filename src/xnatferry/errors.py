"""Every error of xnatferry, in one tree.

    XnatferryError                      exit code 1
    ├── UsageError                      2   the command or call cannot be carried out as written
    ├── DataError                       7   local data is refused by a check
    ├── ConflictError                   6   the server holds something else and the policy is to stop
    ├── TransferError                   1   a file could not be carried over
    │   ├── FileChangedError            1   a local file changed between plan and transfer
    │   └── DiskFullError               1   the local disk has no room left
    ├── VerifyError                     8   the server does not hold what was sent
    ├── StoppedError                  130   interrupted by the user; can be resumed
    ├── ArchiveError                    1   the local archive cannot be started or used
    │   └── ArchiveHeldError            1   another process has its folder
    ├── JournalError                    1   the record of a run cannot be written or read
    └── RemoteError                     1   the server answered, or failed to, in a way that stops the act
        ├── AuthenticationError         3   wrong or missing credentials
        ├── ForbiddenError              3   the account may not do this
        ├── NotFoundError               4   no such host, or no such object on it
        ├── NotXnatError                4   the host answers, but not as an XNAT
        ├── UnavailableError            5   temporary: worth trying again later
        └── RefusedError                1   the server said no (4xx) or failed on this request (500)

A message says what happened, where, and what to do. Facts are attributes, so that programs need not read the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ArchiveError",
    "ArchiveHeldError",
    "AuthenticationError",
    "ConflictError",
    "DataError",
    "DiskFullError",
    "FileChangedError",
    "ForbiddenError",
    "JournalError",
    "NotFoundError",
    "NotXnatError",
    "RefusedError",
    "RemoteError",
    "StoppedError",
    "TransferError",
    "UnavailableError",
    "UsageError",
    "VerifyError",
    "XnatferryError",
    "joint_exit_code",
]


def joint_exit_code(codes: Iterable[int]) -> int:
    """What several acts end with: 0 when all are well, the one code that those share that are not, else 1."""
    bad = set(codes) - {0}
    return bad.pop() if len(bad) == 1 else int(bool(bad))


class XnatferryError(Exception):
    """Root of all errors that xnatferry raises on purpose.

    Attributes:
        exit_code: What the command line leaves with.
        retryable: Whether the same request may succeed if it is sent again.
    """

    exit_code = 1
    retryable = False


class UsageError(XnatferryError):
    """The call cannot be carried out as it is written."""

    exit_code = 2


class DataError(XnatferryError):
    """Local data is refused; nothing has been sent."""

    exit_code = 7


class ConflictError(XnatferryError):
    """The server holds something else and the policy says to stop."""

    exit_code = 6


class TransferError(XnatferryError):
    """A file could not be carried over."""


class FileChangedError(TransferError):
    """A local file is no longer what the plan saw."""


class DiskFullError(TransferError):
    """The local disk has no room left for what is being fetched."""


class VerifyError(XnatferryError):
    """The server does not hold what was sent."""

    exit_code = 8


class StoppedError(XnatferryError):
    """The user stopped the run; the same push goes on where it ended."""

    exit_code = 130


class ArchiveError(XnatferryError):
    """The local archive cannot be started or used."""


class ArchiveHeldError(ArchiveError):
    """Another process has the folder of the archive; it may give it back, or let others in."""


class JournalError(XnatferryError):
    """The record of a run cannot be written or read."""


class RemoteError(XnatferryError):
    """The server stopped the act.

    Attributes:
        status: HTTP status, or None when no answer came.
        method: HTTP method of the request.
        url: Address of the request, without credentials.
    """

    def __init__(self, message: str, *, status: int | None = None, method: str = "", url: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.method = method
        self.url = url


class AuthenticationError(RemoteError):
    """The credentials are missing or wrong (401)."""

    exit_code = 3


class ForbiddenError(RemoteError):
    """The account may not do this (403)."""

    exit_code = 3


class NotFoundError(RemoteError):
    """The host or the object is not there (404), or may not be seen by this account."""

    exit_code = 4


class NotXnatError(RemoteError):
    """Something answers, but it is no XNAT."""

    exit_code = 4


class UnavailableError(RemoteError):
    """Temporary: connection lost, time-out, 429, 502, 503, 504.

    Attributes:
        retry_after_s: Seconds the server asked to wait, or None.
    """

    exit_code = 5
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        method: str = "",
        url: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, status=status, method=method, url=url)
        self.retry_after_s = retry_after_s


class RefusedError(RemoteError):
    """The server refused this request, or failed on it."""
