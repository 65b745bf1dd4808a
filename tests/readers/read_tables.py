"""Reads the tables below a folder with every reader that analysts use and prints what each one saw, as JSON.

    python read_tables.py RESULTS

Comes out: {reader: {fact: value}}. Each fact is asked for in the reader's own way; nothing is shared between
them but the questions, and nothing is rounded but sums, whose order of adding the readers choose.
"""

import json
import sys
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow.compute
import pyarrow.dataset

TABLES = ["media", "frames", "faces", "tracks", "embeddings"]


def tidy(facts):
    """Sorted, as text where JSON has no type, and sums to nine digits."""

    def value(v):
        if isinstance(v, float):
            return float(f"{v:.9g}")
        if isinstance(v, (list, tuple)):
            return [value(x) for x in v]
        return v if v is None or isinstance(v, (int, str, bool)) else str(v)

    return {name: value(v) for name, v in facts.items()}


def by_duckdb(root):
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    for table in TABLES:
        con.execute(
            f"CREATE VIEW {table} AS SELECT * FROM read_parquet(?, hive_partitioning = true)".replace(
                "?", f"'{root}/{table}/**/*.parquet'"
            )
        )
    one = lambda sql: con.execute(sql).fetchone()[0]
    many = lambda sql: [row[0] for row in con.execute(sql).fetchall()]
    return {
        "rows": [one(f"SELECT count(*) FROM {table}") for table in TABLES],
        "columns": [
            [name for name in many(f"SELECT column_name FROM (DESCRIBE {table})") if name not in ("dt", "run")]
            for table in TABLES
        ],
        "dt": many("SELECT DISTINCT CAST(dt AS VARCHAR) FROM media ORDER BY 1"),
        "run": many("SELECT DISTINCT CAST(run AS VARCHAR) FROM media ORDER BY 1"),
        "keys": many("SELECT key FROM media ORDER BY key"),
        "status": many("SELECT status FROM media ORDER BY key"),
        "n_faces": int(one("SELECT coalesce(sum(n_faces), 0) FROM media")),
        "joined": one("SELECT count(*) FROM faces f JOIN media m ON f.media_id = m.media_id AND f.key = m.key"),
        "faces_of_group": one("SELECT count(*) FROM faces WHERE key = 'group.jpg'"),
        "score_nulls": one("SELECT count(*) FROM media WHERE score_mean IS NULL"),
        "score_sum": one("SELECT coalesce(sum(CAST(score AS DOUBLE)), 0.0) FROM faces"),
        "box_sum": one("SELECT coalesce(sum(CAST(box_x0 AS DOUBLE)), 0.0) FROM faces"),
        "vector_lengths": many("SELECT DISTINCT len(vector) FROM embeddings ORDER BY 1"),
        "vector_sum": one(
            "SELECT coalesce(sum(list_sum(CAST(vector AS DOUBLE[]))), 0.0) FROM embeddings"
        ),
        "modified_us": [int(v) for v in many("SELECT epoch_us(modified) FROM media ORDER BY key")],
        "modified_zone": one("SELECT column_type FROM (DESCRIBE media) WHERE column_name = 'modified'")
        == "TIMESTAMP WITH TIME ZONE",
    }


def by_pyarrow(root):
    pc = pyarrow.compute
    tables = {t: pyarrow.dataset.dataset(f"{root}/{t}", partitioning="hive").to_table() for t in TABLES}
    media, faces, embeddings = tables["media"].sort_by("key"), tables["faces"], tables["embeddings"]
    total = lambda column: pc.sum(column.cast("float64")).as_py() or 0.0
    text = lambda column: sorted({str(v) for v in column.to_pylist()})
    return {
        "rows": [tables[t].num_rows for t in TABLES],
        "columns": [[n for n in tables[t].column_names if n not in ("dt", "run")] for t in TABLES],
        "dt": text(media["dt"]),
        "run": text(media["run"]),
        "keys": media["key"].to_pylist(),
        "status": media["status"].to_pylist(),
        "n_faces": pc.sum(media["n_faces"]).as_py() or 0,
        "joined": faces.select(["media_id", "key", "face_index"])
        .join(media.select(["media_id", "key"]), ["media_id", "key"], join_type="inner")
        .num_rows,
        "faces_of_group": pc.sum(pc.equal(faces["key"], "group.jpg")).as_py() or 0,
        "score_nulls": media["score_mean"].null_count,
        "score_sum": total(faces["score"]),
        "box_sum": total(faces["box_x0"]),
        "vector_lengths": sorted(set(pc.list_value_length(embeddings["vector"]).to_pylist())),
        "vector_sum": total(pc.list_flatten(embeddings["vector"])),
        "modified_us": media["modified"].cast("int64").to_pylist(),
        "modified_zone": media.schema.field("modified").type.tz == "UTC",
    }


def by_polars(root):
    tables = {
        t: polars.scan_parquet(f"{root}/{t}/**/*.parquet", hive_partitioning=True).collect() for t in TABLES
    }
    media, faces, embeddings = tables["media"].sort("key"), tables["faces"], tables["embeddings"]
    total = lambda column: column.cast(polars.Float64).sum()
    text = lambda column: sorted({str(v) for v in column.to_list()})
    return {
        "rows": [tables[t].height for t in TABLES],
        "columns": [[n for n in tables[t].columns if n not in ("dt", "run")] for t in TABLES],
        "dt": text(media["dt"]),
        "run": text(media["run"]),
        "keys": media["key"].to_list(),
        "status": media["status"].to_list(),
        "n_faces": media["n_faces"].sum(),
        "joined": faces.join(media, on=["media_id", "key"], how="inner").height,
        "faces_of_group": faces.filter(polars.col("key") == "group.jpg").height,
        "score_nulls": media["score_mean"].null_count(),
        "score_sum": total(faces["score"]),
        "box_sum": total(faces["box_x0"]),
        "vector_lengths": sorted(set(embeddings["vector"].list.len().to_list())),
        "vector_sum": total(embeddings["vector"].explode()),
        "modified_us": media["modified"].dt.epoch("us").to_list(),
        "modified_zone": media.schema["modified"].time_zone == "UTC",
    }


def by_pandas(root):
    tables = {t: pandas.read_parquet(f"{root}/{t}") for t in TABLES}
    media, faces, embeddings = tables["media"].sort_values("key"), tables["faces"], tables["embeddings"]
    text = lambda column: sorted({str(v) for v in column.tolist()})
    return {
        "rows": [len(tables[t]) for t in TABLES],
        "columns": [[n for n in tables[t].columns if n not in ("dt", "run")] for t in TABLES],
        "dt": text(media["dt"]),
        "run": text(media["run"]),
        "keys": media["key"].tolist(),
        "status": media["status"].tolist(),
        "n_faces": int(media["n_faces"].sum()),
        "joined": len(faces.merge(media, on=["media_id", "key"])),
        "faces_of_group": int((faces["key"] == "group.jpg").sum()),
        "score_nulls": int(media["score_mean"].isna().sum()),
        "score_sum": float(faces["score"].astype("float64").sum()),
        "box_sum": float(faces["box_x0"].astype("float64").sum()),
        "vector_lengths": sorted({len(v) for v in embeddings["vector"]}),
        "vector_sum": float(sum(v.astype("float64").sum() for v in embeddings["vector"])),
        "modified_us": [int(v.value // 1000) for v in media["modified"]],
        "modified_zone": str(media["modified"].dt.tz) == "UTC",
    }


def main():
    root = Path(sys.argv[1]).resolve()
    readers = {"duckdb": by_duckdb, "pyarrow": by_pyarrow, "polars": by_polars, "pandas": by_pandas}
    print(json.dumps({name: tidy(read(root)) for name, read in readers.items()}))


main()
