import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from xnatferry.errors import UsageError
from xnatferry.sources.regex_template import opposite
from xnatferry.sources.template import AmbiguousPathError, PathTemplate


@pytest.mark.parametrize(
    ("template", "relative", "expected"),
    [
        ("{subject}/{session}/{type}.nii.gz", "P1/MR1/T1.nii.gz", {"subject": "P1", "session": "MR1", "type": "T1"}),
        ("{subject}/{session}/{type}.nii.gz", "P1/T1.nii.gz", None),
        ("{subject}/{session}/{type}.nii.gz", "P1/MR1/x/T1.nii.gz", None),
        ("{subject}/{session}/{type}.nii.gz", "P1/MR1/T1.nii", None),
        ("/{subject}/{type}.nii", "P1/T1.nii", {"subject": "P1", "type": "T1"}),
        ("{subject}/{subject}_{type}.nii", "P_1/P_1_T1.nii", {"subject": "P_1", "type": "T1"}),
        ("{subject}/{subject}_{type}.nii", "P1/P2_T1.nii", None),
        ("{scan:int}_{type}.nii", "003_T1.nii", {"scan": "003", "type": "T1"}),
        ("{scan:int}_{type}.nii", "x_T1.nii", None),
        (r"{subject:re([A-Z]+_\d+)}_{type}.nii", "AB_01_T1.nii", {"subject": "AB_01", "type": "T1"}),
        (r"{subject:re((A|B)\d)}.nii", "B7.nii", {"subject": "B7"}),
        ("{subject}/*/{type}.nii", "P1/anything/T1.nii", {"subject": "P1", "type": "T1"}),
        ("**/{subject}.nii", "a/b/c/P1.nii", {"subject": "P1"}),
        ("**/{subject}.nii", "P1.nii", {"subject": "P1"}),
        ("{subject}.nii", "P(1).nii", {"subject": "P(1)"}),
        ("{type}/{subject}.nii", "T1w/Größe.nii", {"type": "T1w", "subject": "Größe"}),
        (r"re:(?P<subject>P\d+)_(?P<type>\w+)\.nii(\.gz)?", "P12_T1_a.nii.gz", {"subject": "P12", "type": "T1_a"}),
        (r"re:(?P<subject>P\d+)_(?P<type>\w+)\.nii(\.gz)?", "x/P12_T1.nii.gz", None),
        (r"re:(?:.*/)?(?P<subject>[^/_]+)_(?:t1|(?P<type>fl))\.nii", "a/b/P1_t1.nii", {"subject": "P1"}),
        (r"re:(?i)(?P<subject>p[0-9]+)/(?P=subject)_[x\]|)]{2,}\.nii", "P1/p1_x]|.nii", {"subject": "P1"}),
        (r"re:(?P<type>T1)/(?P<subject>.+)\.nii|(?P<subject>\d+)\.nii", "12.nii", {"subject": "12"}),
        ("re:(?P<subject>[^/]+)/.*[.]nii", "P1/a/b.nii", {"subject": "P1"}),
    ],
)
def test_reads(template, relative, expected):
    assert PathTemplate.compile(template).read(relative) == expected


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", "use for example"),
        ("/", "use for example"),
        ("re:", "use for example"),
        ("{subjekt}.nii", "unknown field 'subjekt'; did you mean 'subject'"),
        ("{group}.nii", "unknown field 'group'"),
        ("{pipeline}.nii", "unknown field 'pipeline'"),
        ("{subject", "at '{subject' (character 1)"),
        ("a/{}.nii", "at '{}.nii' (character 3)"),
        ("subject}.nii", "at '}.nii' (character 8)"),
        ("{subject:re([)}.nii", "'[' is not a regular expression"),
        ("{subject:re((?P<type>x))}.nii", "without a name"),
        ("re:(?P<subject>[^/]+", "missing ) after '(?P<subject>[^/]+'"),
        ("re:*", "nothing to repeat"),
        ("re:(?P<subjet>x)", "did you mean 'subject'"),
        (r"re:\d+\.nii", "has no field"),
    ],
)
def test_a_template_that_cannot_be_meant_is_refused_with_words(template, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        PathTemplate.compile(template)


@pytest.mark.parametrize(
    ("template", "relative", "readings"),
    [
        ("{subject}_{type}.nii", "a_b_c.nii", ({"subject": "a", "type": "b_c"}, {"subject": "a_b", "type": "c"})),
        (
            "{subject:re(.+)}_{type}.nii",
            "a_b_c.nii",
            ({"subject": "a_b", "type": "c"}, {"subject": "a", "type": "b_c"}),
        ),
        (
            "re:(?P<subject>.+)_(?P<type>.+)",
            "a_b_c",
            ({"subject": "a_b", "type": "c"}, {"subject": "a", "type": "b_c"}),
        ),
        ("re:(?P<subject>a|ab)(?P<type>b?c)", "abc", ({"subject": "a", "type": "bc"}, {"subject": "ab", "type": "c"})),
        ("re:(?P<subject>..)?(?P<type>.*)", "abc", ({"subject": "ab", "type": "c"}, {"type": "abc"})),
    ],
)
def test_two_readings_are_not_chosen_between(template, relative, readings):
    with pytest.raises(AmbiguousPathError, match=r"reads the path as .* or .*; restrict subject") as caught:
        PathTemplate.compile(template).read(relative)
    assert caught.value.readings == readings


def test_an_expression_that_would_take_forever_is_stopped():
    template = PathTemplate.compile(r"re:(?P<subject>(?:a|aa)+)/x\.nii")
    with pytest.raises(UsageError, match="takes too long"):
        template.read("a" * 200 + "/y.nii")


@pytest.mark.parametrize(
    "pattern",
    [
        r"a*?b+c{2,}d{3}e??f++[*+?|)\]]\*\|(?:x|y|)(?P<n>z)(?P=n)(?#a|b)(?=p|q)(?<!r)(?>s|t)",
        r"(a|b)(\1)|(?i:x)|(?P<q>k)?(?(q)l|m)",
    ],
)
def test_turning_an_expression_around_twice_gives_it_back(pattern):
    assert opposite(pattern) != pattern
    assert opposite(opposite(pattern)) == pattern
    re.compile(opposite(pattern).replace("f++", "f"))


labels = st.text(st.characters(blacklist_characters="/_\0\n", blacklist_categories=("Cs",)), min_size=1, max_size=10)


@given(subject=labels, session=labels, kind=labels)
def test_what_was_put_in_comes_out(subject, session, kind):
    template = PathTemplate.compile("{subject}/{session}/{subject}_{type}.nii.gz")
    read = template.read(f"{subject}/{session}/{subject}_{kind}.nii.gz")
    assert read == {"subject": subject, "session": session, "type": kind}


FIELDS = ("subject", "session", "scan", "type", "quality", "date")
PARTS = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=6)


@st.composite
def templates(draw):
    """A template whose fields stand in folders or between separators, and the path that its values make."""
    names = draw(st.permutations(FIELDS))[: draw(st.integers(1, 5))]
    values = {name: draw(PARTS) for name in names}
    text = path = ""
    for position, name in enumerate((*names, names[0]) if draw(st.booleans()) else names):
        between = draw(st.sampled_from(["/", "_", "-x.", "("])) if position else ""
        text += f"{between}{{{name}}}"
        path += between + values[name]
    ending = draw(st.sampled_from([".nii", ".nii.gz", "}"[:0]]))
    return text + ending, path + ending, values


@given(made=templates())
@example(made=("{subject}_{type}.nii", "a_b_c.nii", {"subject": "a_b", "type": "c"}))
def test_what_a_template_renders_is_read_back_or_said_to_be_unclear(made):
    text, path, values = made
    try:
        readings = [PathTemplate.compile(text).read(path)]
    except AmbiguousPathError as error:
        readings = list(error.readings)
    if len(readings) == 1:
        assert readings == [values]
        return
    # Unclear only where a value holds what separates; both readings shown are possible.
    assert any(sign in value for value in values.values() for sign in "_-(.")
    assert readings[0] != readings[1]
    for reading in readings:
        assert re.sub(r"\{(\w+)\}", lambda found, reading=reading: reading[found[1]], text) == path


@given(made=templates())
def test_an_expression_reads_as_the_format_string_does(made):
    text, path, values = made
    assume(not any(sign in value for value in values.values() for sign in "_-(."))
    seen = set()

    def group(found):
        name = found[1]
        known = name in seen
        seen.add(name)
        return f"(?P={name})" if known else f"(?P<{name}>[^/]+)"

    pieces = re.split(r"(\{\w+\})", text)
    pattern = "".join(
        re.sub(r"^\{(\w+)\}$", group, piece) if piece[:1] == "{" else re.escape(piece) for piece in pieces
    )
    assert PathTemplate.compile(f"re:{pattern}").read(path) == values
