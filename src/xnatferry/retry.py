"""Timeouts, attempts and pauses of all requests."""

from __future__ import annotations

from dataclasses import dataclass
from random import SystemRandom

from xnatferry.errors import RefusedError, UnavailableError, XnatferryError

#: Tries of one request, the first included.
ATTEMPTS = 5
#: Seconds before the second try; doubled each time, with jitter.
FIRST_PAUSE_S = 0.5
#: If a server requests a longer pause than this, in seconds, the request fails.
LONGEST_PAUSE_S = 60.0

_random = SystemRandom()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in seconds. There is no limit for a complete transfer.

    Attributes:
        connect_s: For a connection.
        read_s: For the next bytes of an answer.
        write_s: For the next bytes of a body to be taken.
        stored_s: For the answer to an upload, in addition to the time to extract it.
    """

    connect_s: float = 10.0
    read_s: float = 120.0
    write_s: float = 120.0
    stored_s: float = 600.0


def pause_before_next(error: XnatferryError, attempt: int) -> float:
    """Seconds to wait before a request that ended with *error* is sent again.

    A 500 is repeated too: XNAT answers it when two requests write one catalog.

    Args:
        error: How the try ended.
        attempt: Its number, counted from 1.

    Raises:
        XnatferryError: *error* itself, if it is permanent, ended the last try, or requests a too long pause.
    """
    retryable = error.retryable or (isinstance(error, RefusedError) and error.status == 500)
    requested = (error.retry_after_s if isinstance(error, UnavailableError) else None) or 0.0
    if not retryable or attempt >= ATTEMPTS or requested > LONGEST_PAUSE_S:
        raise error
    return max(FIRST_PAUSE_S * 2.0 ** (attempt - 1) * (0.5 + _random.random()), requested)
