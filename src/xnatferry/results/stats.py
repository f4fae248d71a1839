"""`stats`: collects FreeSurfer measurements in one table, from a server or from this computer."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from xnatferry.results.local_stats import local_stats
from xnatferry.results.remote_stats import remote_stats
from xnatferry.results.stats_cache import StatsCache
from xnatferry.results.stats_table import StatsTable
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from xnatferry.client.remote_reader import RemoteReader

__all__ = ["StatsTable", "stats"]


def stats(
    table: str,
    where: Address | str | Path,
    remote: RemoteReader | None = None,
    *,
    resource: str | None = None,
    workers: int = 4,
    cache: Path | None = None,
) -> StatsTable:
    """Collect one kind of FreeSurfer measurements.

    table = xnatferry.stats("aseg", "BRAIN", client.remote)
    table.write(Path("aseg.csv"))
    table.to_pandas(wide=True)

    What is missing is in ``table.remarks``; it raises no error.

    Args:
        table: ``aseg``, ``aparc``, ``aparc.a2009s``, ``aparc.DKTatlas``, ``wmparc``, ``hippo``, ``amyg``,
            ``brainstem`` or ``thalamus``.
        where: Project, subject, session or resource on *remote*; without one, a SUBJECTS_DIR, a subject folder or an
            archive of one.
        remote: The server.
        resource: Label of the resource to read; None uses the newest one with the table.
        workers: How many sessions or folders are read at the same time.
        cache: Folder of cached files; None uses the user's cache folder.

    Raises:
        UsageError: The table is unknown, or *where* is not an address.
        NotFoundError: *where* does not exist.
        RemoteError: The server cannot be read.
    """
    if remote is None:
        return local_stats(table, Path(str(where)), workers=workers)
    address = where if isinstance(where, Address) else Address.parse(str(where))
    folder = cache if cache is not None else user_cache_path("xnatferry", appauthor=False) / "stats"
    with closing(StatsCache(folder)) as kept:
        return remote_stats(table, remote, address, cache=kept, resource=resource, workers=workers)
