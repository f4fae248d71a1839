"""Settings of a local archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from xnatferry.server.connection_limits import ConnectionLimits
from xnatferry.server.unpack import UnpackLimits

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Settings of one archive.

    Attributes:
        root: Folder that holds everything: metadata, files, credential of the command line.
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        certfile: Certificate chain in PEM; with it, HTTPS is spoken.
        keyfile: Key of the certificate in PEM, when it is not in the same file.
        forwarded_allow_ips: Addresses of proxies whose ``X-Forwarded-For`` and ``-Proto`` are believed, with commas.
        site_name: XNAT's site id: the prefix of accession IDs and the realm of the login challenge.
        limits: What an uploaded archive may hold.
        connections: How many connections an address may have, and how slow they may be.
        login_minutes: An idle login ends after this many minutes (XNAT's default is 15).
        require_login: Whether requests need a login; False shows public projects to *guest*.
        max_upload_bytes: Largest file upload.
        max_document_bytes: Largest XML or form body of a request that is no file upload.
        max_stranger_bytes: Largest body of a request without an account, such as the form of the login page.
        trash_days: Removed files are kept so many days in ``trash``; older ones go for good when the archive starts.
        strict: Whether it is as unkind as an XNAT fresh from its installation, so that tests meet what users will meet.
        threads: Requests that may work on disk and metadata at the same time.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int = 8080
    certfile: Path | None = None
    keyfile: Path | None = None
    forwarded_allow_ips: str = "127.0.0.1"
    site_name: str = "XNAT"
    limits: UnpackLimits = field(default_factory=UnpackLimits)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    login_minutes: int = 15
    require_login: bool = True
    max_upload_bytes: int = 256 << 30
    max_document_bytes: int = 16 << 20
    max_stranger_bytes: int = 16 << 10
    trash_days: float = 30
    strict: bool = False
    threads: int = 16

    @property
    def exposed(self) -> bool:
        """Whether other computers can reach it without encryption."""
        if self.certfile is not None or self.host == "localhost":
            return False
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return True
