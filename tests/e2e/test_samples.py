"""`xnatferry samples` writes the data that the pages use."""

from xnatferry.samples import DATASETS


def test_every_dataset_is_written_and_can_be_pushed(ferry, tmp_path):
    written = ferry("samples", tmp_path / "try")
    assert written.code == 0, written.text
    assert [line.partition(": ")[0] for line in written.out.splitlines()] == [
        str(tmp_path / "try" / n) for n in DATASETS
    ]
    assert (tmp_path / "try" / "SOURCE.txt").read_text().count("licence:") == 5
    for name in DATASETS:
        pushed = ferry("push", tmp_path / "try" / name, "-p", "P", "-y", "--allow-incomplete")
        assert pushed.code == 0, pushed.text


def test_nothing_is_replaced(ferry, tmp_path):
    (tmp_path / "tiny_bids").mkdir()
    refused = ferry("samples", tmp_path)
    assert refused.code == 2
    assert f"{tmp_path / 'tiny_bids'}: already exists" in refused.err
    assert sorted(path.name for path in tmp_path.iterdir() if path != ferry.home) == ["tiny_bids"]


def test_the_record_names_the_folders(ferry, tmp_path):
    records = ferry("samples", tmp_path / "try", "--json").records
    assert [one["name"] for one in records if one["record"] == "sample"] == list(DATASETS)
