"""Named searches stored on the server (XNAT's ``SavedSearchResource``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import SubElement, register_namespace, tostring

from xnatferry.server import search
from xnatferry.server.request_scope import Refusal
from xnatferry.server.xnat_tables import XNAT_TABLES
from xnatferry.xnat.result_set import Table
from xnatferry.xnat.xml import read_xml

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

    from xnatferry.server.accounts import Account

_XDAT: Final = "http://nrg.wustl.edu/security"
_ALLOWED: Final = f"{{{_XDAT}}}allowed_user"
_LOGIN: Final = f"{{{_XDAT}}}login"
_DOCUMENTS: Final = {f"{{{_XDAT}}}stored_search", f"{{{_XDAT}}}bundle", f"{{{_XDAT}}}search"}

_COLUMNS: Final[Mapping[str, str]] = XNAT_TABLES["saved_search_columns"]


def saved_table(connection: sqlite3.Connection, account: Account | None, *, tag: str = "", everybody: bool) -> Table:
    """The searches that *account* may use: its own, those it was let into, and open ones.

    Args:
        connection: Of the metadata.
        account: Who asks.
        tag: ``true`` for those with a tag, a project for those with that tag, "" for those without.
        everybody: Whether an administrator wants to see those of all people.
    """
    rows = []
    for row in connection.execute("SELECT * FROM saved_searches ORDER BY id"):
        root, logins = read_xml(row["document"]), json.loads(row["logins"])
        whole = everybody and account is not None and account.admin
        fits_tag = bool(root.get("tag")) if tag == "true" else root.get("tag", "") == tag
        if whole or (fits_tag and _may_use(row, account)):
            found = {column: root.get(attribute, "") for column, attribute in _COLUMNS.items()}
            found |= {"secure": str(1 - row["open"]), "users": "{" + ",".join(logins) + "}"}
            found["root_element_name"] = search.root_type(row["document"].encode())
            rows.append(found)
    return Table(tuple(_COLUMNS), rows, title="Stored Searches", counted=False)


def document_of(connection: sqlite3.Connection, account: Account | None, name: str) -> bytes:
    """The search document called *name*, with the logins that may use it.

    Raises:
        Refusal: 404, there is none, or it belongs to another account.
    """
    row = connection.execute("SELECT * FROM saved_searches WHERE id = ?", (name,)).fetchone()
    if row is None or not (_may_use(row, account) or (account is not None and account.admin)):
        raise Refusal(404)
    document: str = row["document"]
    return document.encode()


def keep(connection: sqlite3.Connection, account: Account, name: str, document: bytes) -> None:
    """Keep *document* under *name*, for *account* and for whom it names; an earlier one of that name goes.

    Raises:
        Refusal: 422, it is no search document; 403, the name belongs to a search of another account.
    """
    search.root_type(document)
    root = read_xml(document)
    if root.tag not in _DOCUMENTS:
        raise Refusal(422)
    row = connection.execute("SELECT * FROM saved_searches WHERE id = ?", (name,)).fetchone()
    if row is not None and account.login not in json.loads(row["logins"]) and not account.admin:
        raise Refusal(403)
    root.set("ID", name)
    logins = list(dict.fromkeys([*_logins(root), account.login]))
    for login in logins:
        if login not in set(_logins(root)):
            SubElement(SubElement(root, _ALLOWED), _LOGIN).text = login
    register_namespace("xdat", _XDAT)
    is_open = root.get("secure", "").strip().lower() in {"0", "false"}
    connection.execute(
        "INSERT OR REPLACE INTO saved_searches VALUES (?, ?, ?, ?)",
        (name, tostring(root, encoding="unicode"), json.dumps(logins), int(is_open)),
    )


def remove(connection: sqlite3.Connection, account: Account, name: str) -> None:
    """Take *account* out of those who may use the search; it goes with its last one, or when an administrator asks.

    A search that is not there is no error, as on XNAT.

    Raises:
        Refusal: 403, it belongs to another account.
    """
    row = connection.execute("SELECT * FROM saved_searches WHERE id = ?", (name,)).fetchone()
    if row is None:
        return
    logins = json.loads(row["logins"])
    if account.login not in logins and not account.admin:
        raise Refusal(403)
    rest = [login for login in logins if login != account.login]
    if account.login not in logins or not rest:
        connection.execute("DELETE FROM saved_searches WHERE id = ?", (name,))
        return
    root = read_xml(row["document"])
    for one in root.findall(_ALLOWED):
        if one.findtext(_LOGIN, "").strip() == account.login:
            root.remove(one)
    connection.execute(
        "UPDATE saved_searches SET document = ?, logins = ? WHERE id = ?",
        (tostring(root, encoding="unicode"), json.dumps(rest), name),
    )


def _logins(root: Element) -> Iterator[str]:
    for one in root.findall(_ALLOWED):
        if login := one.findtext(_LOGIN, "").strip():
            yield login


def _may_use(row: sqlite3.Row, account: Account | None) -> bool:
    return bool(row["open"]) or (account is not None and account.login in json.loads(row["logins"]))
