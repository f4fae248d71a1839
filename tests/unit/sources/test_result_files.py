import pytest

from xnatferry.errors import UsageError
from xnatferry.sources.discovery import discover, recognise
from xnatferry.sources.model import Kind
from xnatferry.sources.result_rules import ResultRule, built_in_rules, read_rules, rule_for
from xnatferry.xnat.model import Level


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


CAT12 = ("mri/p1T1.nii.gz", "mri/p2T1.nii.gz", "report/cat_T1.xml")


@pytest.mark.parametrize(
    ("folder", "names", "resource"),
    [
        ("ann", CAT12, "CAT12_SEGMENT"),
        ("ann", ("c1T1.nii", "c2T1.nii", "y_T1.nii"), "SPM12_SEGMENT"),
        ("ann", ("final/ann_left_corr_nogray_volumes.txt", "ann_raw.nii.gz"), "ASHS"),
        ("ann", ("ann_icv.txt", "ann_left_heur_volumes.txt"), "ASHS"),
        ("ann", ("antsBrainSegmentation.nii.gz", "antsCorticalThickness.nii.gz"), "ANTS"),
        ("ann.anat", ("T1_biascorr.nii.gz", "T1_subcort_seg.nii.gz"), "FSL_ANAT"),
        ("ann.feat", ("design.fsf", "report.html"), "FEAT"),
        ("ann.bedpostX", ("mean_f1samples.nii.gz",), "BEDPOSTX"),
        ("ann", ("dti_FA.nii.gz", "dti_MD.nii.gz", "dti_L1.nii.gz"), "DTIFIT"),
        ("ann", ("connectome.csv",), "MRTRIX3"),
        ("ann", ("alps.stat/alps.csv",), "ALPS"),
        ("ann", ("CorrectLesion_ann.nii.gz",), "BAMOS"),
        ("ann", ("native_space/perfusion_gm_mean.txt",), "BASIL"),
        ("ann", ("region_analysis/x.csv",), "QSMXT"),
        ("ann", ("samseg.stats",), "SAMSEG"),
        ("ann", ("ann.coord", "ann.table"), "LCMODEL"),
    ],
)
def test_results_are_recognised_and_named_as_their_readers_ask(tmp_path, folder, names, resource):
    make(tmp_path / "all" / folder, *names)
    assert recognise(tmp_path / "all") is Kind.FILES
    (source,) = discover(tmp_path / "all").sources
    assert (source.claims.subject, source.claims.resource) == ("ann", resource)
    assert source.level is Level.SESSION
    assert not source.refused


def test_images_that_are_only_numbered_are_no_segmentation(tmp_path):
    make(tmp_path, "c1.nii.gz", "c2.nii.gz", "c3.nii.gz")
    assert recognise(tmp_path) is Kind.NIFTI


def test_every_built_in_rule_has_a_case_above():
    tested = {
        param[2]
        for mark in test_results_are_recognised_and_named_as_their_readers_ask.pytestmark
        for param in mark.args[1]
    }
    assert {rule.resource for rule in built_in_rules()} == tested


def test_only_the_carried_part_travels(tmp_path):
    make(tmp_path / "ann", "final/ann_left_corr_nogray_volumes.txt", "raw/huge.nii.gz")
    (source,) = discover(tmp_path).sources
    assert [file.name for file in source.files] == ["ann_left_corr_nogray_volumes.txt"]


@pytest.mark.parametrize(
    ("where", "subject", "session"),
    [
        ("ann", "ann", None),
        ("ann/CAT12", "ann", None),
        ("cat12/ann", "ann", None),
        ("ann/visit1/cat12", "ann", "ann_visit1"),
        ("results/ann/ann_MR2", "ann", "ann_MR2"),
        ("sub-01/ses-2/cat12", "01", "01_2"),
        ("sub-01_ses-2", "01", "01_2"),
    ],
)
def test_folders_say_whose_it_is(tmp_path, where, subject, session):
    make(tmp_path / where, *CAT12)
    (source,) = discover(tmp_path).sources
    assert (source.claims.subject, source.claims.session) == (subject, session)


def test_the_result_itself_may_be_named(tmp_path):
    make(tmp_path / "ann" / "CAT12", *CAT12)
    for named in (tmp_path / "ann", tmp_path / "ann" / "CAT12"):
        (source,) = discover(named).sources
        assert source.claims.subject == "ann"
        assert sorted(file.name for file in source.files) == sorted(CAT12)


def test_what_is_no_result_is_said_to_stay_behind(tmp_path):
    make(tmp_path, "ann/mri/p1.nii", "ann/report/cat_1.xml", "group.csv", "notes/a.txt")
    found = discover(tmp_path)
    (finding,) = found.findings
    assert finding.id == "FIL01"
    assert "group.csv, notes/a.txt" in finding.message


def test_plain_folders_are_results_of_subjects_when_asked(tmp_path):
    make(tmp_path, "ann/a.txt", "ann/in/b.txt", "bob/a.txt", "loose.txt")
    assert recognise(tmp_path) is Kind.NIFTI
    found = discover(tmp_path, kind=Kind.FILES)
    assert {s.claims.subject: [f.name for f in s.files] for s in found.sources} == {
        "ann": ["a.txt", "in/b.txt"],
        "bob": ["a.txt"],
    }
    assert "loose.txt" in found.findings[0].message


def test_all_of_a_folder_may_be_one_resource(tmp_path):
    make(tmp_path, "ann/a.txt", "b.txt", *CAT12)
    (source,) = discover(tmp_path, kind=Kind.FILES, together=True).sources
    assert len(source.files) == 5


def test_templates_of_folders_and_files(tmp_path):
    make(tmp_path, "ann/v1/QA/a.txt", "ann/v1/QA/in/a.txt", "ann/v2/QA/a.txt", "ann_x.csv", "odd")
    found = discover(
        tmp_path,
        kind=Kind.FILES,
        template=["{subject}/{session}/{resource}/", "{subject}_{type}.csv"],
    )
    places = {(s.claims.session, s.claims.resource): [f.name for f in s.files] for s in found.sources}
    assert places == {("v1", "QA"): ["a.txt", "in/a.txt"], ("v2", "QA"): ["a.txt"], (None, None): ["ann_x.csv"]}
    assert "odd" in found.findings[0].message


def test_two_files_for_one_place_are_refused(tmp_path):
    make(tmp_path, "ann/one/a.txt", "ann/two/a.txt")
    (source,) = discover(tmp_path, kind=Kind.FILES, template=["{subject}/*/*.txt"]).sources
    assert source.refused
    assert [finding.id for finding in source.findings] == ["FIL03"]


def test_a_dead_link_refuses_its_result(tmp_path):
    make(tmp_path / "ann", *CAT12)
    (tmp_path / "ann" / "mri" / "gone").symlink_to("nowhere")
    (source,) = discover(tmp_path).sources
    assert source.refused
    assert source.findings[0].id == "FIL02"


def test_rules_of_people_come_first(tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "mine"\nresource = "MINE"\nall = ["mri/p1*"]\nlevel = "subject"\n')
    make(tmp_path / "all" / "ann", *CAT12)
    (source,) = discover(tmp_path / "all", rules=rules).sources
    assert source.claims.resource == "MINE"
    assert source.level is Level.SUBJECT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rule]", "TOML"),
        ("", "[[rule]]"),
        ("[[rule]]\nname = 'x'", "needs name, resource"),
        ("[[rule]]\nname = 'x'\nresource = 'X'\nall = 'a'", "list of strings"),
        ("[[rule]]\nname = 1\nresource = 'X'\nall = ['a']", "name must be a string"),
        ("[[rule]]\nname = 'x'\nresource = 'a/b'\nall = ['a']", "resource 'a/b'"),
        ("[[rule]]\nname = 'x'\nresource = 'X'\nall = ['a']\nlevel = 'scan'", "level must be"),
        ("[[rule]]\nname = 'x'\nresource = 'X'\nall = ['a']\ncarry = '../up'", "carry"),
        ("[[rule]]\nname = 'x'\nresource = 'X'\nall = ['a']\nwhen = 'now'", "unknown key when"),
        ("rule = 3", "[[rule]]"),
        ("rule = [3]", "rule 1"),
    ],
)
def test_rules_that_cannot_be_used_say_why(tmp_path, text, said):
    rules = tmp_path / "rules.toml"
    rules.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_rules(rules)
    assert said in str(caught.value)
    assert "rules.toml" in str(caught.value)


def test_rules_that_are_not_there_say_so(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_rules(tmp_path / "none.toml")


def test_a_star_stays_within_one_part_of_a_path(tmp_path):
    rule = ResultRule("x", "X", all=("*.csv",))
    assert rule_for(make(tmp_path / "a", "in/b.csv"), [rule]) is None
    assert rule_for(make(tmp_path / "b", "b.csv"), [rule]) is rule
