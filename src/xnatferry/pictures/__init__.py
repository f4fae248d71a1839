"""Draws mosaics and thumbnails of NIfTI and MGH volumes, upright, with left and right marked.

Importing this package loads numpy and Pillow (about 110 ms), so import it inside the function that needs it.

    from xnatferry.pictures import mosaic, thumbnail

    picture = mosaic(Path("sub-01_T1w.nii.gz"))            # three planes; of 4-D images also a carpet
    picture = mosaic(data, media="image/webp", planes=("axial",), width_px=320)
    picture.data, picture.width, picture.height, picture.media
"""

from xnatferry.pictures.mosaic import Convention, montage, mosaic, snapshots, thumbnail
from xnatferry.pictures.picture import MEDIA, Picture

__all__ = ["MEDIA", "Convention", "Picture", "montage", "mosaic", "snapshots", "thumbnail"]
