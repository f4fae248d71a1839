"""A process that draws: paths as JSON, one a line, on its standard input; pictures on its standard output.

For each path one line ``{"pictures": {"ORIGINAL": 24301, "THUMBNAIL": 6890}}`` with sizes, followed by that many bytes;
or ``{"error": "..."}``. For ``{"sketch": PATH}`` one small WebP comes, as ``SKETCH``. It ends with its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

from xnatferry.errors import DataError
from xnatferry.pictures.mosaic import snapshots, thumbnail

#: Steps down in priority: a transfer that needs a processor comes first.
_NICE = 10


def serve() -> None:
    """Draw each requested picture until the input ends."""
    with contextlib.suppress(AttributeError, OSError):  # not on Windows
        os.nice(_NICE)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        sketch = isinstance(request, dict)
        answer, bodies = _drawn(Path(request["sketch"] if sketch else request), sketch=sketch)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + b"".join(bodies))
        sys.stdout.buffer.flush()


def _drawn(path: Path, *, sketch: bool) -> tuple[dict[str, object], list[bytes]]:
    try:
        if sketch:
            pictures = {"SKETCH": thumbnail(path)}
        else:
            original, small = snapshots(path)
            pictures = {"ORIGINAL": original, "THUMBNAIL": small}
    except DataError as error:
        return {"error": str(error)}, []
    except (MemoryError, ValueError, ArithmeticError) as error:
        return {"error": f"no picture: {type(error).__name__}: {error}"}, []
    sizes = {word: len(picture.data) for word, picture in pictures.items()}
    return {"pictures": sizes}, [picture.data for picture in pictures.values()]


if __name__ == "__main__":
    serve()
