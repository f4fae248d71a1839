"""All errors of xnatferry.

    XnatferryError                      exit code 1
    ├── UsageError                      2   the command or call is not valid
    ├── DataError                       7   local data is refused by a check
    ├── ConflictError                   6   the server has different data and the policy is to stop
    ├── TransferError                   1   a file could not be transferred
    │   ├── FileChangedError            1   a local file changed between plan and transfer
    │   └── DiskFullError               1   the local disk is full
    ├── VerifyError                     8   the server does not have what was sent
    ├── StoppedError                  130   interrupted by the user; can be resumed
    ├── ArchiveError                    1   the local archive cannot be started or used
    │   └── ArchiveHeldError            1   another process has its folder
    ├── JournalError                    1   the record of a run cannot be written or read
    └── RemoteError                     1   the server answered, or failed to, in a way that stops the act
        ├── AuthenticationError         3   wrong or missing credentials
        ├── ForbiddenError              3   permission denied
        ├── NotFoundError               4   host or object not found
        ├── NotXnatError                4   the server is not an XNAT
        ├── UnavailableError            5   temporary error: try again later
        └── RefusedError                1   the server refused the request (4xx) or failed (500)

A message has the form ``what: where: why; what to do``. Programs use the attributes and not the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def joint_exit_code(codes: Iterable[int]) -> int:
    """The exit code of several steps: 0 when all succeeded, the common code of those that failed, else 1."""
    bad = set(codes) - {0}
    return bad.pop() if len(bad) == 1 else int(bool(bad))


class XnatferryError(Exception):
    """Root of all errors that xnatferry raises on purpose.

    Attributes:
        exit_code: Exit code of the command line.
        retryable: Whether the same request may succeed later.
        may_have_acted: Whether the act may have been carried out although it failed.
    """

    exit_code = 1
    retryable = False
    may_have_acted = False


class UsageError(XnatferryError):
    """The command or call is not valid."""

    exit_code = 2


class DataError(XnatferryError):
    """Local data is refused; nothing has been sent."""

    exit_code = 7


class ConflictError(XnatferryError):
    """The server has different data and the policy is to stop."""

    exit_code = 6


class TransferError(XnatferryError):
    """A file could not be transferred."""

    may_have_acted = True


class FileChangedError(TransferError):
    """A local file changed since the plan was made."""


class DiskFullError(TransferError):
    """The local disk is full."""


class VerifyError(XnatferryError):
    """The server does not have what was sent."""

    exit_code = 8


class StoppedError(XnatferryError):
    """The user stopped the run; the same command continues it."""

    exit_code = 130
    may_have_acted = True


class ArchiveError(XnatferryError):
    """The local archive cannot be started or used."""


class ArchiveHeldError(ArchiveError):
    """Another process has the folder of the archive; it may give it back, or let others in."""


class JournalError(XnatferryError):
    """The journal of a run cannot be written or read."""


class RemoteError(XnatferryError):
    """A request failed.

    Attributes:
        status: HTTP status, or None without an answer.
        method: HTTP method of the request.
        url: URL of the request, without credentials.
        attempts: How often the request was sent and may have been carried out, including the last time.
    """

    attempts = 1

    def __init__(self, message: str, *, status: int | None = None, method: str = "", url: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.method = method
        self.url = url


class AuthenticationError(RemoteError):
    """The credentials are missing or wrong (401)."""

    exit_code = 3


class ForbiddenError(RemoteError):
    """Permission denied (403)."""

    exit_code = 3


class NotFoundError(RemoteError):
    """The host or object does not exist (404), or is not visible for this account."""

    exit_code = 4


class NotXnatError(RemoteError):
    """The server is not an XNAT."""

    exit_code = 4


class UnavailableError(RemoteError):
    """Temporary: connection lost, time-out, 429, 502, 503, 504.

    Attributes:
        retry_after_s: Seconds to wait that the server requested, or None.
    """

    exit_code = 5
    retryable = True
    may_have_acted = True

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
    """The server refused the request, or failed."""

    @property
    def may_have_acted(self) -> bool:  # type: ignore[override]
        """Whether the server failed (500), which XNAT also does after the act is done."""
        return self.status == 500
