"""Every command that the pages show runs here, and prints what the page says, up to times, rates, ports and names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.documented import agrees, blocks_of, commands_of, reader_environment, run_page
from xnatferry import errors
from xnatferry.samples import write_to
from xnatferry.testing import local_archive

DOCS = Path(__file__).resolve().parents[2] / "docs"
DATA = DOCS.parent / "tests" / "data"
#: Made from the commands themselves, or about their names: they show forms, not commands to type.
FORMS = {"cli.md", "design.md"}
PAGES = {page.relative_to(DOCS).as_posix(): page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md"))}
RUNNING = [name for name, text in PAGES.items() if any(block.kind == "console" for block in blocks_of(text))]
TYPED = re.compile(r"(?m)^(?:\$ |exec )?(?:xnatferry|python3?|podman|docker|sbatch|qsub|pip|make) ")


def to_run(page):
    blocks = [block for block in blocks_of(page) if block.kind in {"console", "first"} and not block.not_run]
    return [command for block in blocks for command in commands_of(block)]


@pytest.mark.parametrize("name", RUNNING)
def test_the_commands_print_what_the_page_says(name, ferry, tmp_path):
    """In a folder with the samples, or empty if the page writes them; `me` has an account, whose password is in a file."""
    here = tmp_path / "here"
    here.mkdir()
    commands = to_run(PAGES[name])
    if not any(command.text.startswith("xnatferry samples") for command in commands):
        write_to(here)
    with local_archive() as server:
        (here / "password.txt").write_text(server.new_account("me").password)
        ended = run_page(commands, here, reader_environment(ferry.environment, DATA), server.url)
    wrong = []
    for command, (code, printed), after in zip(commands, ended, [*commands[1:], None], strict=True):
        where = f"docs/{name}:{command.line}: $ {command.text}"
        assert "Traceback" not in printed, f"{where}\n{printed}"
        if code and not (after and after.text == "echo $?"):
            wrong.append(f"{where}\nleft with {code} and printed:\n{printed}")
        elif command.output.strip() and not agrees(command.output, printed):
            wrong.append(f"{where}\nprinted:\n{printed}\nthe page says:\n{command.output}")
    assert not wrong, "\n".join(wrong)


def test_no_command_stands_where_no_test_sees_it():
    """Commands are in `console` blocks; others need a reason, and there are few of them."""
    unseen, reasons = [], []
    for name, text in PAGES.items():
        for block in blocks_of(text) if name not in FORMS else []:
            if block.not_run:
                reasons.append(f"{name}: {block.not_run}")
            elif block.kind not in {"console", "first", "python"} and TYPED.search(block.text):
                unseen.append(f"docs/{name}:{block.line}: {block.text}")
    assert not unseen, "\n".join(unseen)
    assert sum(len(to_run(PAGES[name])) for name in RUNNING) >= 60
    assert len(reasons) <= 20, reasons


EXIT_CODES = {name: one.exit_code for name, one in vars(errors).items() if isinstance(one, type)}


def test_every_error_is_explained_with_its_exit_code():
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| (\d+) \|", PAGES["errors.md"]))
    assert rows == {name: str(code) for name, code in EXIT_CODES.items()}


def test_every_exit_code_is_explained():
    explained = {int(code) for code in re.findall(r"(?m)^\| (\d+) \|", PAGES["exit-codes.md"])}
    assert explained == {*EXIT_CODES.values(), 0}


def test_the_python_page_is_up_to_date():
    from tools.python_reference import python_page

    assert PAGES["python-api.md"] == python_page(), "run `make reference`"


@pytest.mark.skipif(
    not (DOCS.parent / "src").is_dir(), reason="pages link to the source, which a wheel is tested without"
)
@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere_on_github(name):
    """To a file of the repository, and to a heading that is in it; mkdocs looks after the site."""
    page = DOCS / name
    prose = re.sub(r"(?ms)^\s*```.*?^\s*```$|`[^`\n]*`", "", PAGES[name])
    for target, anchor in re.findall(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)", prose):
        found = (page.parent / target).resolve() if target else page
        assert found.is_relative_to(DOCS.parent), target
        assert found.exists(), f"docs/{name} -> {target}"
        if anchor:
            headings = re.findall(r"(?m)^#+ (.+)$", found.read_text(encoding="utf-8"))
            assert anchor in {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}, anchor


def test_no_page_names_a_path_of_a_machine():
    for name, text in PAGES.items():
        assert not re.search(r"/(tmp|root|work|Users)/", text), name


def test_the_shown_output_must_be_what_was_printed():
    """The comparison itself can fail."""
    assert agrees("sent 3 files in 0.1 s", "sent 3 files in 2.7 s\n")
    assert not agrees("sent 3 files in 0.1 s", "sent 4 files in 0.1 s\n")
    assert agrees("a\n...\nz", "a\nb\nc\nz\n")
    assert not agrees("a\n...\nz", "a\nb\nz\nc\n")
    assert not agrees("a", "a\nb\n")
