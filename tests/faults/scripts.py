"""What old and new servers, and the proxies before them, do to an upload: one script each.

`HEALS` marks those that must end with every file proven; the others must end with every file that is not proven named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peer import (
    LOGIN_PAGE,
    NEW,
    OLD,
    Peer,
    Reply,
    Thing,
    busy,
    closed,
    cut_answer,
    empty_200,
    expired,
    half_landed_500,
    landed_500,
    lost_reply,
    page,
    reset_in_body,
)

__all__ = ["SCRIPTS", "Script"]

FILES = "/files/"
#: The archive and the single file are two uploads; these words tell them apart.
ARCHIVE, SINGLE = r"/files/upload\.", r"/files/(?!upload\.)"


@dataclass(frozen=True)
class Script:
    """One way in which a push is disturbed.

    Attributes:
        name: What happens.
        prepare: Sets the peer up; called before the push.
        heals: Whether every file must end proven.
        eras: Which servers do that.
    """

    name: str
    prepare: Callable[[Peer], object]
    heals: bool = True
    eras: tuple[str, ...] = (OLD, NEW)

    def __str__(self) -> str:
        return self.name


def _fails(method: str, pattern: str, act: object, times: int = 1) -> Callable[[Peer], object]:
    return lambda peer: peer.fail(method, pattern, act, times=times)  # type: ignore[arg-type]


def _with(**state: object) -> Callable[[Peer], object]:
    def prepare(peer: Peer) -> None:
        for name, value in state.items():
            assert hasattr(peer, name)
            setattr(peer, name, value)

    return prepare


def spoilt(handler, seen):
    """One byte is another when it is stored."""
    handler.read_body(seen)
    seen.body = seen.body[:-1] + bytes([seen.body[-1] ^ 1])
    return handler.process(seen)


def short(handler, seen):
    """The file is stored without its last byte, as on a full disk."""
    handler.read_body(seen)
    seen.body = seen.body[:-1]
    return handler.process(seen)


def forgotten(handler, seen):
    """200, the bytes are on the disk, the catalog does not know them."""
    landed_500(handler, seen)
    return Reply(200)


def first_member_lost(handler, seen):
    """The archive is unpacked but for one file."""
    handler.read_body(seen)
    reply = handler.process(seen)
    with handler.server.peer.lock:
        for project in handler.server.peer.projects.values():
            for subject in project.children.values():
                for session in subject.children.values():
                    for resource in session.resources.values():
                        if len(resource.disk) > 1:
                            name = min(resource.disk)
                            del resource.disk[name], resource.catalog[name]
    return reply


def made_and(status: int, words: str):
    """Another client makes the object in the same moment, and this one gets *status*."""

    def act(handler, seen):
        handler.read_body(seen)
        handler.process(seen)
        return page(status, words)

    return act


def another_session_remains(handler, seen):
    """Of two sessions of one label, made at once, the other client's remained: an empty one."""
    peer = handler.server.peer
    with peer.lock:
        for project in peer.projects.values():
            for subject in project.children.values():
                for label, held in subject.children.items():
                    other = Thing(f"XNAT_E9{peer.number()}", label, held.xsi_type, subject=subject.id)
                    other.fields["subject_ID"] = subject.id
                    subject.children[label] = other


def gone_with_its_scans(handler, seen):
    """As `another_session_remains`, before a file is stored."""
    handler.read_body(seen)
    another_session_remains(handler, seen)
    return page(404, "Unable to identify scan")


CONCURRENT = "java.util.ConcurrentModificationException"
NULL_POINTER = 'Cannot invoke "getPrearchiveCode()" because the return value is null'
OBJECT = "/(subjects|experiments|scans|resources)/[^/]*$"

SCRIPTS = [
    Script("nothing goes wrong", lambda peer: None),
    # Temporary refusals
    *(Script(f"{status} on the file", _fails("PUT", SINGLE, busy(status))) for status in (429, 502, 503, 504)),
    *(Script(f"{status} on the archive", _fails("PUT", ARCHIVE, busy(status), 2)) for status in (429, 502, 503, 504)),
    Script("503 on every upload", _fails("PUT", FILES, busy(), 999), heals=False),
    Script("429 with an hour to wait on a listing", _fails("GET", "/files$", busy(429, "3600"), 999), heals=False),
    Script("503 on objects", _fails("PUT", "/(subjects|experiments|resources)/[^/]*$", busy(), 3)),
    Script("503 on the login", _fails("GET", "/JSESSION", busy(), 2)),
    # Connections
    Script("reset in the body of the file", _fails("PUT", SINGLE, reset_in_body)),
    Script("reset in the body of the archive", _fails("PUT", ARCHIVE, reset_in_body)),
    Script("closed without an answer", _fails("PUT", FILES, closed, 2)),
    Script("reply lost after the file was stored", _fails("PUT", SINGLE, lost_reply)),
    Script("reply lost after the archive was unpacked", _fails("PUT", ARCHIVE, lost_reply)),
    Script("every reply to an upload lost", _fails("PUT", FILES, lost_reply, 999)),
    Script("reply lost after the session was made", _fails("PUT", "/experiments/[^/]*$", lost_reply)),
    Script("reply lost after the resource was made", _fails("PUT", "/resources/[^/]*$", lost_reply, 2)),
    Script("listing cut off", _fails("GET", "/files$", cut_answer, 3)),
    Script("reset in every upload", _fails("PUT", FILES, reset_in_body, 999), heals=False),
    # Answers that lie
    Script("empty 200 without a write, once", _fails("PUT", SINGLE, empty_200), heals=False),
    Script("no right to edit: 200 and nothing stored", _with(may_edit=False), heals=False),
    Script("stored but not catalogued", _fails("PUT", FILES, forgotten, 2)),
    Script("500 after the bytes landed, file", _fails("PUT", SINGLE, landed_500)),
    Script("500 after half of the file landed", _fails("PUT", SINGLE, half_landed_500)),
    Script("500 after the bytes landed, archive", _fails("PUT", ARCHIVE, landed_500)),
    Script("500 on every upload", _fails("PUT", FILES, page(500, "java.lang.NullPointerException"), 999), heals=False),
    Script("a byte changed on the way", _fails("PUT", SINGLE, spoilt), heals=False, eras=(NEW,)),
    Script("the last byte is missing", _fails("PUT", SINGLE, short), heals=False),
    Script("one file of the archive is missing", _fails("PUT", ARCHIVE, first_member_lost), heals=False),
    Script(
        "a web page in place of the answer", _fails("PUT", SINGLE, Reply(200, "<html>Maintenance</html>")), heals=False
    ),
    # Logins
    Script("the login expires before the file", _fails("PUT", SINGLE, expired)),
    Script("the login expires before the archive", _fails("PUT", ARCHIVE, expired)),
    Script("the login expires before the listing", _fails("GET", "/files$", expired)),
    Script("the login expires all the time", _fails("*", "/(files|resources|experiments)", expired, 7)),
    Script("a login page in place of an answer", _fails("PUT", SINGLE, Reply(200, LOGIN_PAGE))),
    Script("the login cookie is not honoured", _with(cookies=False)),
    # Rights and limits
    Script("403 on the upload", _fails("PUT", FILES, page(403, "no permission"), 999), heals=False),
    Script("403 on the session", _fails("PUT", "/experiments/[^/]*$", page(403, "no permission"), 999), heals=False),
    Script("a proxy takes no large bodies", _with(body_limit=3000), heals=False),
    Script("413 without a word", _fails("PUT", ARCHIVE, Reply(413), 999), heals=False),
    # Digests
    Script("digests are switched off", _with(digests=False), eras=(NEW,)),
    # Races
    Script(
        "409: another client made the resource",
        _fails("PUT", "/resources/[^/]*$", page(409, "Specified resource already exists.")),
    ),
    Script(
        "500 on the session, which is made all the same",
        _fails("PUT", "/experiments/[^/]*$", made_and(500, "x")),
    ),
    Script("409: another client made the subject", _fails("PUT", "/subjects/[^/]*$", made_and(409, "Duplicate label"))),
    Script("409, and the object is not there yet", _fails("PUT", OBJECT, page(409, "Duplicate label"), 2)),
    Script("500 while somebody makes a project", _fails("PUT", "/experiments/[^/]*$", page(500, NULL_POINTER), 2)),
    Script("404 of an object that is being made", _fails("PUT", OBJECT, page(404, "Unable to identify experiment"), 2)),
    Script(
        "500 of a resource that is made all the same", _fails("PUT", "/resources/[^/]*$", made_and(500, CONCURRENT))
    ),
    Script("500 of a resource that is not made", _fails("PUT", "/resources/[^/]*$", page(500, CONCURRENT), 3)),
    Script("500, and the file is listed though refused", _fails("PUT", FILES, made_and(500, CONCURRENT), 2)),
    Script("another client's session remained before the files", _fails("PUT", SINGLE, gone_with_its_scans)),
    Script(
        "another client's session remained after the files",
        _fails("GET", "/scans/ALL/files$", another_session_remains),
    ),
    Script("409 on every object", _fails("PUT", "/experiments/[^/]*$", page(409, "Duplicate label"), 999), heals=False),
]
