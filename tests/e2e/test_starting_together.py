"""Commands that start at the same time share one archive, wherever the first one is when the others come.

The commands are the real ones, stopped at a call of the operating system by `stopping`.
"""

from __future__ import annotations

import pytest

#: Where the first command may be, in order.
POINTS = {
    "before the lock": ("fcntl.flock", "", 1),
    "before it says who it is": ("os.truncate", "", 1),
    "before the database": ("sqlite3.connect", "metadata.sqlite", 1),
    "before the credential": ("open", ".cli-credential.json", 1),
    "credential not in place": ("os.rename", "cli-credential.json", 1),
    "before it says that it answers": ("os.truncate", "", 2),
}


@pytest.mark.parametrize("point", POINTS)
def test_who_comes_while_the_archive_is_made_waits_for_it(command, images, point):
    first = command("push", images, "-p", "P", "-y", at=POINTS[point])
    first.until("stopped")
    second = command("list", "--json")
    if point == "before the lock":
        second.ended()  # nobody has the archive: it is the second one's
        first.go_on()
    else:
        second.until("Waiting for the local archive")
        first.go_on()
        second.ended()
        assert "served at" in second.said
    first.ended()


@pytest.mark.parametrize("point", POINTS)
def test_who_saw_no_archive_and_comes_too_late_joins(command, images, point):
    late = command("list", "--json", at=("socket.bind", "", 1))  # has looked, and is about to make an archive
    late.until("stopped")
    first = command("push", images, "-p", "P", "-y", at=POINTS[point])
    first.until("stopped")
    late.go_on()
    if point == "before the lock":
        late.ended()
        first.go_on()
    else:
        late.until("Waiting for the local archive")
        first.go_on()
        late.ended()
    first.ended()


def test_who_waits_for_one_that_dies_makes_the_archive(command):
    first = command("list", "--json", at=POINTS["before the credential"])
    first.until("stopped")
    second = command("list", "--json")
    second.until("Waiting for the local archive")
    first.process.kill()
    second.ended()
    assert "served at" not in second.said


def test_many_commands_at_once_share_one_archive(command):
    together = [command("list", "--json") for _ in range(6)]
    for one in together:
        one.ended()
