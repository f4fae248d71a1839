import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from xnatferry.console.screen import SafeConsole, Screen

_TURNING = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def obeyed(text):
    return {one for one in text if (ord(one) < 32 and one != "\n") or 0x7F <= ord(one) <= 0x9F or one in _TURNING}


def shown(write, **options):
    stream = io.StringIO()
    write(SafeConsole(file=stream, width=200, soft_wrap=True, **options))
    return stream.getvalue()


@given(st.text(st.characters(codec="utf-8")))
@example("\x1b]0;owned\x07\x1b[2J")
@example("\x9b2J\u202etxt.exe")
@example("\r\x1b[Aall files verified")
def test_nothing_that_a_server_says_is_obeyed(text):
    def write(console):
        screen = Screen(out=console, err=console)
        screen.lines([text.replace("[", "("), Text(text)])
        screen.note(text)
        screen.warn(text)
        screen.error(text)
        table = Table(title=Text(text))
        table.add_column(escape(text))
        table.add_row(Text(text))
        console.print(Panel(table))

    assert obeyed(shown(write)) == set()


def test_escapes_can_be_seen_and_colours_stay():
    assert "\\x1b[2J" in shown(lambda console: console.print(Text("\x1b[2J")))
    coloured = shown(
        lambda console: console.print(Text("red", style="red")), force_terminal=True, color_system="standard"
    )
    assert coloured == "\x1b[31mred\x1b[0m\n"


@pytest.mark.parametrize("text", ["ü 日本 👩‍🔬", "a\nb"])
def test_text_is_as_it_is(text):
    assert shown(lambda console: console.print(Text(text))) == text + "\n"
