"""Patterns with wildcards, matched in time that grows with the length of the text, whatever the pattern.

A regular expression made of many ``.*`` would try every way to share a text out among them: a filter of one request
could take hours.
"""

from __future__ import annotations


def fits(text: str, parts: list[str]) -> bool:
    """Whether *text* is *parts* in their order with anything between them.

    *parts* is a pattern split at its wildcards: ``"a*b".split("*")``. One part alone must be the whole text.
    """
    first, *middle = parts
    if not middle:
        return text == first
    last = middle.pop()
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
