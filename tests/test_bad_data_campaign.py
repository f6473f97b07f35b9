"""Damaged files are read as a second reader reads them, or refused: the reading part of `python tests/bad_data_campaign.py`."""

import bad_data_campaign
import bad_data_reading
import pytest
from bad_data_files import KINDS

from gip_exp.data import rows
from gip_exp.errors import UserError


@pytest.mark.parametrize("number", range(len(KINDS)), ids=KINDS)
def test_a_damaged_file_is_read_as_it_is_or_refused_by_name(number, data_dir, tmp_path):
    mutant = bad_data_campaign.mutants(len(KINDS), data_dir / "cases")[number]
    place = mutant.write(tmp_path)
    refusal = ""
    try:
        files = rows.find_files(place, allow_missing=True)
        placed = list(rows.read_files(files.train))
        layout = rows.find_layout(placed, files.title)
    except UserError as error:
        refusal = str(error)
    if refusal:
        assert bad_data_campaign.named(place, refusal)
        return
    found = rows.read_examples(placed, layout, "train", drop_empty=True)
    second = bad_data_reading.rows_below(place)
    assert found.n_rows == sum(map(len, second.values()))
    assert found.n_rows == found.n_examples + len(found.broken) + len(found.empty)
    assert len(found.left_out) == len(found.broken) + len(found.empty)
    for one in found.rows:
        original = bad_data_reading.value(rows.as_json(one.row))
        assert original == bad_data_reading.standard(second[one.source][one.number - 1])


def test_the_campaign_has_as_many_files_of_each_kind_and_of_each_case(data_dir):
    chosen = bad_data_campaign.mutants(200, data_dir / "cases")
    assert len({(one.source, one.kind) for one in chosen}) == 200
    assert {one.kind for one in chosen} == set(KINDS)
    assert len({one.source for one in chosen}) == len(list((data_dir / "cases").iterdir())) - 1
