"""`scored.parquet`: every row of the data with everything the run knows about it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gip_exp.selection_report.findings import NEAR, Findings
from gip_exp.selection_report.material import Material

TEXT = 500  # characters of a row's text


def write(material: Material, found: Findings, path: Path) -> None:
    """Write the table: the rows of the data in their order, then those left out of it.

    Columns: `id`, `source`, `row`, `own_id`; `status` (selected, ranked, not selected, unscored, held out as target,
    or why the row was left out); `selected`, `rank` (from 1), `gain`; one column per score and per metadata column;
    `characters`; `nearest_pick` (id), `nearest_rank` and `cosine` of the most similar other selected row;
    `near_copy_of` (id of that row from a cosine of 0.95); `x`, `y`, `topic`, `text` (its first 500 characters).
    Values that are unknown are null. A score or metadata column with one of these names is called `NAME (data)`.
    """
    first = {**_identity(material), **_place_in_ranking(material)}
    last = {"characters": pa.array(sum(found.lengths.values())), **_geometry(material, found)}
    last["text"] = _text(material)
    own = {name: pa.array(values, from_pandas=True) for name, values in material.scores.items()}
    own |= {name: pa.array(values, pa.string()) for name, values in material.categories.items()}
    renamed = {f"{name} (data)" if name in first | last else name: values for name, values in own.items()}
    table = pa.table({**first, **renamed, **last})
    if material.left_out:
        table = pa.concat_tables([table, _left_out(material, table.schema)], promote_options="default")
    pq.write_table(table, path, compression="zstd")


def _identity(material: Material) -> dict[str, Any]:
    found = {"id": material.rows.table["id"]}
    if material.origins is not None:
        table = material.origins.table
        found |= {name: _decoded(table[name]) for name in ("source", "own_id") if name in table.column_names}
        found["row"] = table["row"].cast(pa.int64())
    return found


def _decoded(column: Any) -> Any:
    """Return a column of JSON values as text."""
    coded = column.combine_chunks().dictionary_encode()
    values = [json.loads(value) for value in coded.dictionary.to_pylist()]
    texts = pa.array(
        [value if isinstance(value, str) or value is None else json.dumps(value) for value in values],
        pa.string(),
    )
    return texts.take(coded.indices)


def _place_in_ranking(material: Material) -> dict[str, Any]:
    n, b = len(material.rows), material.n_selected
    rank, gain = np.zeros(n, dtype=np.int64), np.full(n, np.nan)
    rank[material.order] = np.arange(1, len(material.order) + 1)
    gain[material.order] = material.gains
    held_out = np.ones(n, dtype=bool)
    held_out[material.pool] = False
    selected = (rank > 0) & (rank <= b)
    status = np.select(
        [held_out, selected, rank > 0, material.unscored],
        ["held out as target", "selected", "ranked", "unscored"],
        "not selected",
    )
    return {
        "status": pa.array(status).dictionary_encode().cast(pa.string()),
        "selected": pa.array(selected),
        "rank": pa.array(rank, mask=rank == 0),
        "gain": pa.array(gain, from_pandas=True),
    }


def _geometry(material: Material, found: Findings) -> dict[str, Any]:
    """Return the columns from the embeddings; null for rows that are not described."""
    n, m = len(material.rows), len(material.described)
    ids = np.array(material.rows.ids, dtype=object)
    pick = np.full(m, None, dtype=object)
    has = found.nearest >= 0
    pick[has] = ids[material.order[found.nearest[has]]]
    picked = np.zeros(m, dtype=bool)
    picked[material.ranked[: material.n_selected]] = True
    with np.errstate(invalid="ignore"):
        near = ~picked & (found.cosine >= NEAR)
    names = np.array(found.topic_names, dtype=object)

    def spread(values: np.ndarray, known: np.ndarray, kind: pa.DataType) -> pa.Array:
        full = np.zeros(n, dtype=values.dtype)
        full[material.described] = values
        unknown = np.ones(n, dtype=bool)
        unknown[material.described] = ~known
        return pa.array(full, type=kind, mask=unknown)

    every = np.ones(m, dtype=bool)
    return {
        "nearest_pick": spread(pick, has, pa.string()),
        "nearest_rank": spread(found.nearest + 1, has, pa.int64()),
        "cosine": spread(found.cosine, has, pa.float32()),
        "near_copy_of": spread(pick, near, pa.string()),
        "x": spread(found.place[:, 0], every, pa.float32()),
        "y": spread(found.place[:, 1], every, pa.float32()),
        "topic": spread(names[found.topic], every, pa.string()),
    }


def _text(material: Material) -> Any:
    parts = [pc.utf8_slice_codeunits(material.rows.table[name], 0, TEXT) for name in ("prompt", "completion")]
    joined = pc.binary_join_element_wise(*parts, pa.scalar("\n", pa.large_string()), null_handling="skip")
    return pc.utf8_slice_codeunits(joined, 0, TEXT)


def _left_out(material: Material, schema: pa.Schema) -> pa.Table:
    """Return the rows that were left out of the data, with the reason as status."""
    rows = [
        {
            **entry,
            "status": f"left out: {entry['why']}",
            "selected": False,
            "row": entry["source_row"],
            "near_copy_of": entry.get("of"),  # none for broken rows and empty completions
        }
        for entry in material.left_out
    ]
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in schema.names} for row in rows],
        schema=schema,
    )
