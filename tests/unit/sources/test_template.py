import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.errors import UsageError
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
    ],
)
def test_reads(template, relative, expected):
    assert PathTemplate.compile(template).read(relative) == expected


@pytest.mark.parametrize(
    "template", ["", "/", "{subjekt}.nii", "{subject", "{}.nii", "{subject:re([)}.nii", "subject}.nii"]
)
def test_a_template_that_cannot_be_meant_is_refused_with_words(template):
    with pytest.raises(UsageError, match=r"\w+ \w+"):
        PathTemplate.compile(template)


def test_two_readings_are_not_chosen_between():
    with pytest.raises(AmbiguousPathError) as caught:
        PathTemplate.compile("{subject}_{type}.nii").read("a_b_c.nii")
    assert caught.value.readings == ({"subject": "a", "type": "b_c"}, {"subject": "a_b", "type": "c"})


labels = st.text(st.characters(blacklist_characters="/_\0\n", blacklist_categories=("Cs",)), min_size=1, max_size=10)


@given(subject=labels, session=labels, kind=labels)
def test_what_was_put_in_comes_out(subject, session, kind):
    template = PathTemplate.compile("{subject}/{session}/{subject}_{type}.nii.gz")
    read = template.read(f"{subject}/{session}/{subject}_{kind}.nii.gz")
    assert read == {"subject": subject, "session": session, "type": kind}
