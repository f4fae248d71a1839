"""The log of a run for people: ``run.log`` in its folder, one line an event, without secrets."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from xnatferry.transfer.events import Began, Outcome, Receipt, Stage, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from xnatferry.transfer.events import Event

log = logging.getLogger(__name__)
_ROOT = logging.getLogger("xnatferry")

# We log no secrets, but messages of servers and libraries may contain some.
_SECRETS = re.compile(
    r"(?P<kept>JSESSIONID=|Authorization:\s*(?:Basic\s+|Bearer\s+)?|\b(?:Basic|Bearer)\s+|password[\"']?\s*[:=]\s*[\"']?"
    r"|://[^/\s:@]+:)[^\s;,\"'@]+",
    re.IGNORECASE,
)


class RunLogFile:
    """Writes the log records of xnatferry at INFO and above while it is open."""

    def __init__(self, folder: Path) -> None:
        self._handler = logging.FileHandler(folder / "run.log", encoding="utf-8")
        self._handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(threadName)s  %(message)s"))
        self._handler.setLevel(logging.INFO)
        self._level_before = _ROOT.level
        _ROOT.addHandler(self._handler)
        if _ROOT.getEffectiveLevel() > logging.INFO:
            _ROOT.setLevel(logging.INFO)

    def close(self) -> None:
        """Close the file and restore the loggers."""
        _ROOT.removeHandler(self._handler)
        _ROOT.setLevel(self._level_before)
        self._handler.close()


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def without_secrets(text: str) -> str:
    """The text with passwords, cookies and authorization headers replaced by ``***``."""
    return _SECRETS.sub(r"\g<kept>***", text)


def log_event(event: Event) -> None:
    """Log stages, created objects and problems.

    Stored and verified files are logged only at DEBUG: the journal lists them.
    """
    if isinstance(event, Stage):
        log.info("%s %s", event.name, event.detail)
    elif isinstance(event, Receipt):
        log.log(_level_of(event), "%s %s %s", event.outcome.value, event.address, event.message)
    elif isinstance(event, Verdict):
        level = logging.DEBUG if event.proof.good else logging.WARNING
        log.log(level, "verdict %s: %s (%s)", event.proof.value, event.address, event.message)
    elif isinstance(event, Began) and log.isEnabledFor(logging.DEBUG):
        log.debug("began %s", ", ".join(map(str, event.addresses)))


def _level_of(receipt: Receipt) -> int:
    if receipt.exit_code:
        return logging.ERROR
    return logging.DEBUG if receipt.outcome is Outcome.STORED and not receipt.message else logging.INFO
