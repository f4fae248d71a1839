"""Puts the 3-D viewer (NiiVue) into the package: pinned, checked, from npm, and never committed.

``python hatch_build.py`` (``make viewer``) does it for a source tree, the hook for a wheel. Without npm or network the
package is built without the viewer: the pages then show snapshots and say why.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # `make viewer` needs no hatchling
    BuildHookInterface = object  # type: ignore[assignment, misc]

VERSION = "0.69.0"
#: As the registry publishes it for this version: ``npm view @niivue/niivue@0.69.0 dist.integrity``.
INTEGRITY = "sha512-YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA=="
#: SHA-256 of the bundle as it is stored here, with our first line; from the pinned package.
BUNDLE_SHA256 = "203e58a3b3e6de7c7b1bb2f19574a2b2ed2eaab631be408686fe28831d68388a"
MEMBER = "package/dist/niivue.umd.js"
#: The bundler's own list of what it put in; the list for the other form of the same bundle.
PARTS = "package/dist/metafile-esm.json"
PLACE = Path("src/xnatferry/server/pages/static/niivue.js")
_SECONDS = 120


class ViewerHook(BuildHookInterface):  # type: ignore[type-arg]
    """Fetches the viewer before a wheel is packed."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch the bundle and let it into the wheel, although git ignores it."""
        place = Path(self.root) / PLACE
        if version == "standard" and (problem := fetch(place)):
            print(f"built without the 3-D viewer: {problem}", file=sys.stderr)
        build_data["artifacts"].append(PLACE.as_posix())


def fetch(place: Path) -> str:
    """Make sure that the bundle is at *place*; returns why it is not, or ""."""
    first_line = f"/* NiiVue {VERSION}, BSD-2-Clause; see niivue-license.txt */\n".encode()
    if place.is_file() and hashlib.sha256(place.read_bytes()).hexdigest() == BUNDLE_SHA256:
        return ""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed" + _without(place)
    with TemporaryDirectory() as folder:
        try:
            command = [npm, "pack", f"@niivue/niivue@{VERSION}", "--pack-destination", folder, "--silent"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=folder)
        except subprocess.TimeoutExpired:
            return f"npm did not answer within {_SECONDS} s" + _without(place)
        if done.returncode:
            return f"npm pack failed: {done.stderr.strip()[-300:]}" + _without(place)
        (packed,) = Path(folder).glob("*.tgz")
        data = packed.read_bytes()
        digest = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
        if digest != INTEGRITY:
            message = f"@niivue/niivue {VERSION} from npm is not what was pinned: {digest}"
            raise SystemExit(message)
        with tarfile.open(packed) as archive:
            bundle = first_line + _read(archive, MEMBER)
            parts = re.findall(r"node_modules/((?:@[^/]+/)?[^/]+)/", _read(archive, PARTS).decode())
        notice = (place.parent / "niivue-license.txt").read_text(encoding="utf-8")
        if unnamed := sorted(name for name in set(parts) if f" {name} " not in notice):
            message = f"niivue-license.txt does not name what is in the bundle: {', '.join(unnamed)}"
            raise SystemExit(message)
    if hashlib.sha256(bundle).hexdigest() != BUNDLE_SHA256:
        message = "the bundle in the pinned package is not BUNDLE_SHA256; update both together"
        raise SystemExit(message)
    part = place.with_name(f".{place.name}.{os.getpid()}.part")  # two builds may be under way
    part.write_bytes(bundle)
    part.replace(place)
    return ""


def _without(place: Path) -> str:
    """Keep a bundle that is not the pinned one out of the package."""
    if not place.exists():
        return ""
    place.unlink()
    return f"; {place.name} was not that of NiiVue {VERSION} and was deleted"


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member is not None
    return member.read()


if __name__ == "__main__":
    why = fetch(Path(__file__).resolve().parent / PLACE)
    print(f"no 3-D viewer: {why}" if why else f"NiiVue {VERSION} is at {PLACE}")
