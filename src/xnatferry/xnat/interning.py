"""Shares equal mappings between thousands of objects."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Never

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING: Mapping[str, Never] = {}


def interned(fields: Mapping[str, str]) -> Mapping[str, str]:
    """One shared mapping for all that are equal to *fields*, in the same order; it must not be changed.

    The images of one protocol have the same geometry in every session, and a plan keeps the fields of each scan.
    """
    return _pool(tuple(fields.items()))


def no_fields() -> Mapping[str, Never]:
    """One shared empty mapping, which must not be changed; a default of frozen classes."""
    return _NOTHING


@lru_cache(maxsize=4096)
def _pool(items: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return dict(items)
