"""One method per operation of XNAT's REST API, the same for all server versions.

Versions differ in status codes, column names and spelling; this module hides the differences. Rules and their sources
are at the methods; "1.6.4" means recorded from a real server of that version, "1.8" means its source code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xnatferry.client.http import Body, Request
from xnatferry.client.remote_objects import RemoteObjects
from xnatferry.client.remote_reader import resource_of
from xnatferry.client.responses import check_removable, kept_names, removal_refused
from xnatferry.client.upload_requests import archive_request, file_request
from xnatferry.errors import ForbiddenError, NotFoundError, RefusedError
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xnatferry.xnat.records import RemoteFile


class Remote(RemoteObjects):
    """A site and an account, for reading and writing; see `RemoteReader`."""

    # Files

    def send_file(
        self,
        address: Address,
        body: Body,
        size_bytes: int,
        *,
        overwrite: bool = False,
        format: str = "",  # noqa: A002  # XNAT's word
        content: str = "",
    ) -> list[str]:
        """Send one file; returns the names of files that the server did not replace.

        Only a new listing shows that it was stored: without edit permission, XNAT answers 200 and stores nothing. It is
        sent once; the caller may send it again after reading the listing.

        Args:
            address: The file.
            body: Returns its bytes, again at each call.
            size_bytes: Number of bytes.
            overwrite: Whether a file of this name is replaced.
            format: Format of its catalog entry and of the resource.
            content: Content of its catalog entry and of the resource.
        """
        response = self._requester.ask(
            file_request(address, body, size_bytes, overwrite=overwrite, format=format, content=content)
        )
        return kept_names(response.text)

    def send_archive(
        self,
        address: Address,
        body: Body,
        size_bytes: int,
        *,
        name: str = "upload.zip",
        overwrite: bool = False,
        format: str = "",  # noqa: A002  # XNAT's word
        content: str = "",
        tags: str = "",
    ) -> list[str]:
        """Send an archive that the server extracts; returns the names of files that it did not replace.

        Raises:
            UsageError: XNAT does not extract archives with the ending of *name*; it extracts ``.zip``, ``.tar``,
                ``.tar.gz``, ``.tgz``.
        """
        response = self._requester.ask(
            archive_request(
                address, body, size_bytes, name=name, overwrite=overwrite, format=format, content=content, tags=tags
            )
        )
        return kept_names(response.text)

    def refresh_catalog(self, address: Address, options: Sequence[str]) -> None:
        """Let the server compare the catalog of a resource with its disk.

        Args:
            address: A resource, or an object with all its resources.
            options: Of ``append``, ``delete``, ``checksum``, ``populateStats``.

        Raises:
            ForbiddenError: The account has no edit permission.
        """
        where = resource_of(address).path.removeprefix("/data")
        query = (("resource", f"/archive{where}"), ("options", ",".join(options)))
        self._requester.ask(Request("POST", "/data/services/refresh/catalog", query), repeat=True)

    # Removal

    def remove(
        self, address: Address, *, remove_files: bool, check: Callable[[Sequence[RemoteFile]], None] | None = None
    ) -> None:
        """Remove the object at *address*, and check that it is removed.

        Args:
            address: An object, a resource or a file.
            remove_files: Whether the files are deleted too. Files of a resource are always moved to the backup of the
                server.
            check: Called with the listing of the resource before a file is removed; if it raises, the file is kept.

        Raises:
            NotFoundError: It does not exist.
            ConflictError: Other file names begin with this name: XNAT 1.8 would remove those files too.
            RefusedError: The server confirmed the removal, but the object still exists.
        """
        if address.file is not None:
            listed = self.list_files(resource_of(address))
            check_removable(address, [file.name for file in listed])
            if check is not None:
                check(listed)
        elif not self.exists(address):
            raise NotFoundError(f"{address}: {address.level} not found", status=404, url=address.path)
        flag = "true" if remove_files else "false"
        request = Request("DELETE", address.path, (("removeFiles", flag),))
        try:
            self._requester.ask(request, repeat=True)
        except NotFoundError:  # a repeated request finds nothing; the check below decides
            pass
        except ForbiddenError as error:
            raise self._undeletable(address, error) from None
        if self.exists(address):
            raise RefusedError(
                f"{address}: not removed, although the server confirmed it; check the permissions of the account",
                method="DELETE",
                url=address.path,
            )

    def _undeletable(self, address: Address, error: ForbiddenError) -> ForbiddenError:
        """The error of a refused removal; names the session types if they are the cause."""
        if address.level not in {Level.SUBJECT, Level.SESSION} or (set_up := self.set_up_types()) is None:
            return error
        rows = self.read_project(address.project).sessions_of(address.subject)
        hidden = [row for row in rows if address.session in {None, row["label"]} and row["xsiType"] not in set_up]
        return removal_refused(str(address), hidden, error) if hidden else error
