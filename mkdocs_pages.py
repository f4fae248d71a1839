"""What makes the pages under docs/ work as a site and on GitHub alike: hooks of mkdocs.

On GitHub a page may link to any file of the repository; a site holds its own pages only. So three files of the top
folder become pages here, and every other link that leaves docs/ leads to the repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import join, normpath, relpath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

TOP = Path(__file__).resolve().parent
FROM_TOP = ("SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")
_LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand in the top folder."""
    for name in FROM_TOP:
        files.append(File.generated(config, name, abs_src_path=str(TOP / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links as GitHub follows them into links of the site, or to the repository."""
    source = page.file.src_uri
    in_repository = source if source in FROM_TOP else f"docs/{source}"

    def in_site(found: re.Match[str]) -> str:
        target = normpath(join(in_repository, "..", found[2]))
        page_name = target.removeprefix("docs/") if target.startswith("docs/") else target
        if files.get_file_from_path(page_name) and (target.startswith("docs/") or target in FROM_TOP):
            return found[1] + relpath(page_name, join(source, ".."))
        if not (TOP / target).exists():
            return found[0]  # mkdocs says so
        kind = "tree" if (TOP / target).is_dir() else "blob"
        return f"{found[1]}{(config.repo_url or '').rstrip('/')}/{kind}/main/{target}"

    return _LINK.sub(in_site, markdown)
