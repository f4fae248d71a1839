import gzip
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xnatferry.sources.discovery import discover
from xnatferry.sources.model import Kind, Severity


def ids(findings):
    return [finding.id for finding in findings]


def only(discovery):
    (source,) = discovery.sources
    return source


def test_a_folder_of_subjects_is_read_by_its_paths(tmp_path, make_image):
    make_image(tmp_path / "P1" / "T1.nii.gz")
    make_image(tmp_path / "P1" / "rest.nii", (4, 5, 6, 3), tr_s=2.5)
    make_image(tmp_path / "P2" / "T1.nii.gz")
    (tmp_path / ".hidden").mkdir()
    make_image(tmp_path / ".hidden" / "T1.nii.gz")
    discovery = discover(tmp_path)
    assert discovery.kind is Kind.NIFTI
    assert [(s.relative, s.claims.subject, s.claims.type) for s in discovery.sources] == [
        ("P1/rest.nii", "P1", "rest"),
        ("P1/T1.nii.gz", "P1", "T1"),
        ("P2/T1.nii.gz", "P2", "T1"),
    ]
    assert not any(source.refused for source in discovery.sources)


def test_the_digest_of_a_compressed_image_comes_with_the_check_and_is_that_of_the_file(tmp_path, make_image):
    image = make_image(tmp_path / "P1_T1.nii.gz")
    (file,) = only(discover(tmp_path)).files
    assert file.digest == hashlib.md5(image.read_bytes()).hexdigest()
    assert (file.size_bytes, file.mtime_ns) == (image.stat().st_size, image.stat().st_mtime_ns)


def test_a_plain_image_is_not_read_to_its_end(tmp_path, make_image):
    make_image(tmp_path / "P1_T1.nii")
    assert only(discover(tmp_path)).files[0].digest is None


def test_facts_of_the_header(tmp_path, make_image):
    make_image(tmp_path / "P1_bold.nii.gz", (10, 12, 7, 5), step=(2.2, 2.2, 3.0), tr_s=1.5)
    assert only(discover(tmp_path)).attributes == {
        "parameters/voxelRes/x": "2.2",
        "parameters/voxelRes/y": "2.2",
        "parameters/voxelRes/z": "3.0",
        "parameters/voxelRes/units": "mm",
        "parameters/fov/x": "22",
        "parameters/fov/y": "26",
        "parameters/matrix/x": "10",
        "parameters/matrix/y": "12",
        "parameters/partitions": "7",
        "frames": "5",
        "parameters/tr": "1500.0",
        "parameters/orientation": "Tra",
    }


def test_facts_of_the_sidecar_win_and_have_the_units_of_xnat(tmp_path, make_image):
    make_image(tmp_path / "P1" / "bold.nii.gz", (4, 4, 4, 3), tr_s=2.0)
    sidecar = {
        "RepetitionTime": 2.05, "EchoTime": 0.03, "FlipAngle": 77, "MagneticFieldStrength": 3, "EffectiveEchoSpacing": 0.0005,
        "ImageType": ["ORIGINAL", "PRIMARY"], "Manufacturer": "Siemens", "SeriesDescription": "rest AP", "InversionTime": [0.9, 1.1],
    }  # fmt: skip
    (tmp_path / "P1" / "bold.json").write_text(json.dumps(sidecar))
    source = only(discover(tmp_path))
    assert [file.name for file in source.files] == ["bold.nii.gz", "bold.json"]
    assert source.claims.series_description == "rest AP"
    said = {
        "parameters/tr": "2050.0", "parameters/te": "30.0", "parameters/ti": "900.0", "parameters/flip": "77.0",
        "fieldStrength": "3", "parameters/echoSpacing": "0.0005", "parameters/imageType": "ORIGINAL\\PRIMARY",
        "scanner/manufacturer": "Siemens", "parameters/matrix/x": "4",
    }  # fmt: skip
    assert said.items() <= source.attributes.items()
    assert ids(source.findings) == ["SID02"]  # 50 ms apart from the header


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("annex_pointer_text.nii.gz", "NII04"),
        ("bad_dim0.nii", "NII11"),
        ("bad_magic.nii", "NII15"),
        ("bad_sizeof_hdr.nii", "NII11"),
        ("empty.nii.gz", "NII01"),
        ("gz_bad_crc.nii.gz", "NII09"),
        ("gzip_named_nii.nii", "NII08"),
        ("header_only_352.nii", "NII12"),
        ("html_page_named_nii.nii", "NII05"),
        ("one_newline.nii.gz", "NII10"),
        ("plain_named_gz.nii.gz", "NII07"),
        ("truncated_data.nii", "NII12"),
        ("truncated_stream.nii.gz", "NII09"),
        ("analyze75_pair.hdr", "NII15"),
        ("neg_and_zero_pixdim.nii", None),
        ("nifti1_big_endian.nii.gz", None),
        ("nifti1_pair.hdr", None),
        ("nifti1_pair_gz.hdr.gz", None),
        ("nifti2_pair.hdr", None),
        ("nifti2_big_endian.nii", None),
        ("two_members.nii.gz", None),
        ("UPPER.NII.GZ", None),
        ("Größe_日本.nii.gz", None),
        ("rgb24.nii.gz", None),
        ("complex64.nii.gz", None),
        ("five_dim.nii.gz", None),
        ("single_slice.nii.gz", None),
        ("all_nan.nii.gz", None),
    ],
)
def test_odd_files_are_explained(odd, name, expected):
    (source,) = [s for s in discover(odd).sources if s.path.name == name]
    errors = [finding.id for finding in source.findings if finding.severity is Severity.ERROR]
    assert errors == ([expected] if expected else [])
    assert all(finding.message and finding.path is not None for finding in source.findings)


def test_phi_in_a_header_is_a_warning_that_does_not_repeat_it(odd):
    source = only(discover(odd / "phi_in_header_extension.nii.gz"))
    assert {"PRV03", "PRV04"} <= set(ids(source.findings))
    assert "DOE" not in "".join(finding.message for finding in source.findings)


def test_a_pair_is_one_source_and_half_a_pair_is_none(odd, tmp_path):
    source = only(discover(odd / "nifti1_pair.img"))
    assert [file.name for file in source.files] == ["nifti1_pair.hdr", "nifti1_pair.img"]
    shutil.copy(odd / "nifti1_pair.img", tmp_path / "half.img")
    assert ids(only(discover(tmp_path)).findings) == ["NII14"]


def test_voxels_of_a_pair_are_counted(odd, tmp_path):
    shutil.copy(odd / "nifti1_pair.hdr", tmp_path / "P1.hdr")
    (tmp_path / "P1.img").write_bytes((odd / "nifti1_pair.img").read_bytes()[:-1])
    (finding,) = [f for f in only(discover(tmp_path)).findings if f.severity is Severity.ERROR]
    assert (finding.id, finding.path.name) == ("NII12", "P1.img")


def test_one_image_may_be_named_with_its_companions(tmp_path, make_image):
    make_image(tmp_path / "P1_dwi.nii.gz", (3, 3, 3, 2))
    make_image(tmp_path / "P2_dwi.nii.gz")
    (tmp_path / "P1_dwi.bval").write_text("0 1000\n")
    (tmp_path / "P1_dwi.bvec").write_text("0 1\n0 0\n0 0\n")
    source = only(discover(tmp_path / "P1_dwi.nii.gz"))
    assert [file.name for file in source.files] == ["P1_dwi.nii.gz", "P1_dwi.bval", "P1_dwi.bvec"]
    assert source.attributes["parameters/diffusion/bValues"] == "0,1000"
    assert source.attributes["parameters/dtiAcqCount"] == "1"


@pytest.mark.parametrize(
    ("bval", "bvec", "expected"),
    [
        ("0 1000\n", "0 1\n0 0\n0 0\n", []),
        ("0\n1000\n", "0 0 0\n1 0 0\n", ["DWI03"]),
        ("0 1000 1000\n", "0 1\n0 0\n0 0\n", ["DWI01"]),
        ("0 1000\n", "0 1 1\n0 0 0\n0 0 0\n", ["DWI01"]),
        ("0 x\n", "0 1\n0 0\n0 0\n", ["DWI02"]),
        ("0 1000\n", "0 1\n0 0\n", ["DWI02"]),
        ("", "0 1\n0 0\n0 0\n", ["DWI02"]),
        ("0 1000\n", "nan 1\nnan 0\nnan 0\n", ["DWI03"]),
        ("0 1000\n", "0 nan\n0 nan\n0 nan\n", ["DWI02"]),
        ("0 1000\n", "0 2\n0 0\n0 0\n", ["DWI03"]),
        ("0 1000\n", None, ["DWI03"]),
    ],
)
def test_gradient_tables(tmp_path, make_image, bval, bvec, expected):
    make_image(tmp_path / "P1_dwi.nii.gz", (3, 3, 3, 2))
    (tmp_path / "P1_dwi.bval").write_text(bval)
    if bvec is not None:
        (tmp_path / "P1_dwi.bvec").write_text(bvec)
    assert ids(only(discover(tmp_path)).findings) == expected


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "null", "\udcff", "[" * 100_000])
def test_a_broken_sidecar_refuses_its_image(tmp_path, make_image, text):
    make_image(tmp_path / "P1_T1.nii.gz")
    (tmp_path / "P1_T1.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    source = only(discover(tmp_path))
    assert source.refused
    assert ids(source.findings) == ["SID01"]


def test_a_sidecar_that_names_a_person_stops_its_image_and_the_name_is_not_told(tmp_path, make_image):
    make_image(tmp_path / "P1_T1.nii.gz")
    sidecar = {
        "PatientName": "Doe^Jane",
        "PatientBirthDate": "1970-01-01",
        "InstitutionName": "Somewhere",
        "PatientID": "",
    }
    (tmp_path / "P1_T1.json").write_text(json.dumps(sidecar), encoding="utf-8-sig")
    source = only(discover(tmp_path))
    assert ids(source.findings) == ["PRV01", "PRV02"]
    assert source.refused
    assert not only(discover(tmp_path, allow_private=True)).refused
    text = " ".join(finding.message for finding in source.findings)
    assert "PatientName" in text
    assert "Doe" not in text
    assert "PatientID" not in text


def test_a_folder_link_or_pipe_in_place_of_an_image(tmp_path, make_image):
    make_image(tmp_path / "P1" / "T1.nii.gz")
    (tmp_path / "P2" / "T1.nii.gz").mkdir(parents=True)
    (tmp_path / "P3").mkdir()
    (tmp_path / "P3" / "T1.nii.gz").symlink_to("../nowhere.nii.gz")
    (tmp_path / "P4").mkdir()
    (tmp_path / "P4" / "T1.nii.gz").symlink_to("../.git/annex/objects/aa/bb/MD5E-s1--x.nii.gz/MD5E-s1--x.nii.gz")
    (tmp_path / "P5").mkdir()
    os.mkfifo(tmp_path / "P5" / "T1.nii.gz")
    found = {source.claims.subject: ids(source.findings) for source in discover(tmp_path).sources}
    assert found == {"P1": [], "P2": ["NII02"], "P3": ["NII04"], "P4": ["NII04"], "P5": ["NII02"]}


def test_a_link_to_an_image_is_followed(tmp_path, make_image):
    real = make_image(tmp_path / "store" / "abc.nii.gz")
    (tmp_path / "data" / "P1").mkdir(parents=True)
    (tmp_path / "data" / "P1" / "T1.nii.gz").symlink_to(real)
    source = only(discover(tmp_path / "data"))
    assert not source.refused
    assert source.files[0].size_bytes == real.stat().st_size


def test_links_in_a_circle_end(tmp_path, make_image):
    make_image(tmp_path / "P1" / "T1.nii.gz")
    (tmp_path / "P1" / "again").symlink_to(tmp_path)
    assert [source.relative for source in discover(tmp_path).sources] == ["P1/T1.nii.gz"]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs Unix permissions")
def test_an_unreadable_image_and_an_unreadable_folder(make_image):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_image(root / "P1" / "T1.nii.gz").chmod(0)
        make_image(root / "P2" / "T1.nii.gz").chmod(0o644)
        (root / "P3").mkdir(mode=0)
        for folder in (root, root / "P1", root / "P2"):  # whatever the umask is
            folder.chmod(0o755)
        was_root = os.geteuid() == 0
        if was_root:
            discover(root)  # reads what the program needs of its own, which others may not be able to
            os.seteuid(65534)
        try:
            discovery = discover(root)
        finally:
            if was_root:
                os.seteuid(0)
            (root / "P3").chmod(0o755)
        assert {s.claims.subject: ids(s.findings) for s in discovery.sources} == {"P1": ["NII03"], "P2": []}
        assert ids(discovery.findings) == ["NII03", "PRV09"]


def test_two_images_of_one_name_are_both_refused(tmp_path, make_image):
    make_image(tmp_path / "P1" / "T1.nii")
    make_image(tmp_path / "P1" / "T1.nii.gz")
    assert [ids(source.findings) for source in discover(tmp_path).sources] == [["NII18"], ["NII18"]]


def test_the_same_bytes_for_two_people_are_noticed(tmp_path, make_image):
    make_image(tmp_path / "P1" / "T1.nii.gz")
    shutil.copy(tmp_path / "P1" / "T1.nii.gz", tmp_path / "P1_T1.nii.gz")
    assert sorted(ids(discover(tmp_path).all_findings)) == ["NII23", "PRV09"]


def test_a_file_that_matches_no_template_is_an_error_of_the_whole(tmp_path, make_image):
    make_image(tmp_path / "P1" / "MR1" / "T1.nii.gz")
    make_image(tmp_path / "stray.nii.gz")
    (tmp_path / "notes.txt").write_text("x")
    discovery = discover(tmp_path, template=("{subject}/{session}/{type}.nii.gz",))
    assert [(s.claims.subject, s.claims.session, s.claims.type) for s in discovery.sources] == [("P1", "MR1", "T1")]
    assert [(f.id, f.severity, f.path.name) for f in discovery.findings if f.id != "PRV09"] == [
        ("NII20", Severity.ERROR, "stray.nii.gz"),
        ("NII19", Severity.INFO, tmp_path.name),
    ]


def test_a_second_template_takes_what_the_first_leaves(tmp_path, make_image):
    make_image(tmp_path / "P1" / "MR1" / "T1.nii.gz")
    make_image(tmp_path / "P2_T2.nii.gz")
    templates = ("{subject}/{session}/{type}.nii.gz", "{subject}_{type}.nii.gz")
    assert [s.claims.type for s in discover(tmp_path, template=templates).sources] == ["T2", "T1"]


def test_a_template_with_two_readings_is_an_error_that_shows_both(tmp_path, make_image):
    make_image(tmp_path / "site_01_T1.nii.gz")
    (finding,) = discover(tmp_path, template=("{subject}_{type}.nii.gz",)).findings
    assert finding.id == "NII21"
    assert "subject 'site', type '01_T1' or subject 'site_01', type 'T1'" in finding.message


def test_nothing_to_carry_is_an_error(tmp_path):
    assert ids(discover(tmp_path).findings) == ["NII22"]


def test_a_bomb_is_counted_and_not_kept(tmp_path):
    bomb = gzip.compress(bytes(300 << 20), 1)
    (tmp_path / "P1_T1.nii.gz").write_bytes(bomb)
    assert ids(only(discover(tmp_path)).findings) == ["NII10"]


names = st.sampled_from(
    ["P1_T1.nii", "P1_T1.nii.gz", "P1.hdr", "P1.img", "P1_T1.json", "P1_T1.bval", "P1_T1.bvec", "t.csv"]
)
heads = st.sampled_from(
    [
        b"",
        b"\x1f\x8b\x08\x00",
        b"\x5c\x01\x00\x00",
        b"\x00\x00\x01\x5c",
        b"\x1c\x02\x00\x00n+2\0\r\n\x1a\n",
        b"{",
        b"<html",
    ]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(names, st.tuples(heads, st.binary(max_size=700), st.booleans()), max_size=5))
def test_no_bytes_under_any_name_raise(files):
    with tempfile.TemporaryDirectory() as name:
        for file, (head, rest, packed) in files.items():
            content = head + rest
            Path(name, file).write_bytes(gzip.compress(content) if packed else content)
        for kind in (None, Kind.NIFTI):
            discovery = discover(name, kind=kind)
            assert all(finding.message for finding in discovery.all_findings)
        for file in files:
            discover(Path(name, file))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 551), value=st.integers(0, 255), cut=st.integers(0, 8920))
def test_no_damage_to_a_real_image_raises(odd, at, value, cut):
    content = bytearray(gzip.decompress((odd / "UPPER.NII.GZ").read_bytes()))
    content[at] = value
    with tempfile.TemporaryDirectory() as name:
        Path(name, "P1_T1.nii").write_bytes(content[: len(content) - cut])
        Path(name, "P2_T1.nii.gz").write_bytes(gzip.compress(bytes(content))[: 7000 - cut])
        discovery = discover(name)
        assert len(discovery.sources) == 2
        if cut:
            assert discovery.sources[0].refused or discovery.sources[0].size_bytes >= 352
