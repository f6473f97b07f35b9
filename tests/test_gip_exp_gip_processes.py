"""`selector.processes`: the ranking of one process, from several."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from gip_exp import pipeline
from gip_exp.artifacts import RANKING
from gip_exp.console import Console
from gip_exp.errors import UserError

OPTIONS = ("until=select", "target.n=37")  # held-out rows: the pool is no slice of the features


@pytest.mark.parametrize("selector", ["mp_ma", "mp_sc"])
def test_two_processes_make_the_ranking_of_one(micro, shared_root, selector):
    options = (f"selector={selector}", *OPTIONS)
    one = pipeline.run(micro(shared_root, *options), Console()).entries["rank"]
    config = micro(shared_root, *options, "selector.processes=2")
    assert pipeline.run(config, Console()).entries["rank"].key == one.key
    (one.folder / "manifest.json").unlink()  # a damaged output is made again
    two = pipeline.run(config, Console()).entries["rank"]
    assert not two.cached
    assert {path.name for path in two.folder.iterdir()} == {RANKING, "manifest.json"}
    tables = [
        pq.read_table(folder / RANKING)
        for folder in (two.folder, two.folder.with_name(two.folder.name + ".damaged-1"))
    ]
    assert tables[0]["row"].to_pylist() == tables[1]["row"].to_pylist()
    assert tables[0]["id"] == tables[1]["id"]
    np.testing.assert_allclose(tables[0]["gain"], tables[1]["gain"], rtol=1e-4)


def test_a_bad_pool_is_the_message_of_one_process_without_a_traceback(micro, tmp_path):
    config = micro(tmp_path, "selector=omp_ma", "selector.processes=2", *OPTIONS)
    selector = config.selector.model_copy(update={"ridge": 0.0})  # past the config's own check
    with pytest.raises(UserError, match=r"ridge: got 0 with scores, .*give ridge > 0"):
        pipeline.run(config.model_copy(update={"selector": selector}), Console())
