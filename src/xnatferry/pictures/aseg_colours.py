"""Colours of the structures of aseg, as in FreeSurfer's ``FreeSurferColorLUT.txt``, by label number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COLOURS"]

_BOTH: Final = {
    # left, right: colour
    (2, 41): (245, 245, 245),  # cerebral white matter
    (3, 42): (205, 62, 78),  # cerebral cortex
    (4, 43): (120, 18, 134),  # lateral ventricle
    (5, 44): (196, 58, 250),  # inferior lateral ventricle
    (7, 46): (220, 248, 164),  # cerebellum white matter
    (8, 47): (230, 148, 34),  # cerebellum cortex
    (10, 49): (0, 118, 14),  # thalamus
    (11, 50): (122, 186, 220),  # caudate
    (12, 51): (236, 13, 176),  # putamen
    (13, 52): (12, 48, 255),  # pallidum
    (17, 53): (220, 216, 20),  # hippocampus
    (18, 54): (103, 255, 255),  # amygdala
    (26, 58): (255, 165, 0),  # accumbens
    (28, 60): (165, 42, 42),  # ventral diencephalon
    (30, 62): (160, 32, 240),  # vessel
    (31, 63): (0, 200, 200),  # choroid plexus
}
_MIDDLE: Final = {
    14: (204, 182, 142),  # third ventricle
    15: (42, 204, 164),  # fourth ventricle
    16: (119, 159, 176),  # brain stem
    24: (60, 60, 60),  # CSF
    72: (120, 190, 150),  # fifth ventricle
    77: (200, 70, 255),  # white matter hypointensities
    85: (234, 169, 30),  # optic chiasm
    251: (0, 0, 64),  # corpus callosum, posterior
    252: (0, 0, 112),
    253: (0, 0, 160),
    254: (0, 0, 208),
    255: (0, 0, 255),  # corpus callosum, anterior
}
COLOURS: Final[Mapping[int, tuple[int, int, int]]] = {
    **{number: colour for pair, colour in _BOTH.items() for number in pair},
    **_MIDDLE,
}
