"""Decompression: isal where it has a wheel (three times as fast), else the standard library."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Any, Final

try:
    from isal import igzip, isal_zlib
except ImportError:  # pragma: no cover  # machines without a wheel
    igzip, isal_zlib = None, None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

#: What damaged data raises here.
INFLATE_ERRORS: Final[tuple[type[Exception], ...]] = (
    zlib.error,
    gzip.BadGzipFile,
    EOFError,
    *((isal_zlib.error,) if isal_zlib else ()),
)


def raw_inflater() -> Any:
    """A decompressor of one raw deflate stream, used as ``zlib.decompressobj(-15)``."""
    return (isal_zlib or zlib).decompressobj(-15)


def open_gzip(path: Path) -> BinaryIO:
    """Open a gzip file of one or more streams for reading its unpacked bytes; checksums are checked."""
    return (igzip or gzip).open(path, "rb")  # type: ignore[no-any-return]
