"""Paths inside archives follow the rules of archives on every system."""

import pytest

from xnatferry.sources.archives import target_within


@pytest.mark.parametrize(
    ("inner", "link", "leads_to"),
    [
        ("surf/lh.pial", "lh.pial.T1", "surf/lh.pial.T1"),
        ("surf/lh.pial", "../mri/./T1.mgz", "mri/T1.mgz"),
        ("lh.pial", "surf//lh.pial", "surf/lh.pial"),
        ("surf/lh.pial", "../../other/lh.pial", "../other/lh.pial"),
        ("surf/lh.pial", "/data/lh.pial", "/data/lh.pial"),
        ("surf/lh.pial", "", "surf"),
        ("surf/lh.pial", r"..\\mri\\T1.mgz", r"surf/..\\mri\\T1.mgz"),
    ],
)
def test_a_link_leads_where_the_archive_says(inner, link, leads_to):
    assert target_within(inner, link) == leads_to
