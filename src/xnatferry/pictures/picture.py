"""A finished picture and the formats it can have."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from xnatferry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

#: Pillow's name and settings of each media type. None of them writes a date, so the same voxels give the same bytes.
MEDIA: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "image/png": ("PNG", {"compress_level": 6}),
    "image/jpeg": ("JPEG", {"quality": 88, "optimize": True}),
    "image/webp": ("WEBP", {"quality": 84, "method": 4}),
    "image/gif": ("GIF", {}),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture.

    Attributes:
        data: The bytes of the file.
        width: In pixels.
        height: In pixels.
        media: Media type, one of `MEDIA`.
    """

    data: bytes
    width: int
    height: int
    media: str

    @property
    def data_uri(self) -> str:
        """The picture as ``data:`` address, for pages that hold everything themselves."""
        return f"data:{self.media};base64,{b64encode(self.data).decode('ascii')}"


def encode(image: Image, media: str) -> Picture:
    """Encode *image*.

    Raises:
        UsageError: *media* is unknown.
    """
    if media not in MEDIA:
        raise UsageError(f"unknown picture type {media!r}; use {', '.join(MEDIA)}")
    name, settings = MEDIA[media]
    stream = BytesIO()
    image.save(stream, name, **settings)
    return Picture(stream.getvalue(), image.width, image.height, media)
