"""Prints what one run found: show.py RESULTS RUN_ID."""

import sys

import duckdb

results, run_id = sys.argv[1:3]


def table(name):
    return f"read_parquet('{results}/{name}/*/run={run_id}/*.parquet', hive_partitioning = true)"


for title, query in {
    "media: a row for every object": f"""
        SELECT key, status, error_class, kind, width, height, frames_decoded AS frames, n_faces, n_tracks,
               round(score_max, 3) AS score_max
        FROM {table("media")} ORDER BY key""",
    "tracks: the ten with the most faces": f"""
        SELECT key, track_id, n_faces, round(first_pts_s, 2) AS first_pts_s, round(last_pts_s, 2) AS last_pts_s,
               round(best_confidence, 3) AS best_confidence, round(score_mean, 3) AS score_mean, scorer
        FROM {table("tracks")} ORDER BY n_faces DESC, key, track_id, scorer LIMIT 10""",
    "faces: the ten largest": f"""
        SELECT key, frame_index, face_index, round(box_x0) AS x0, round(box_y0) AS y0, round(box_x1) AS x1, round(box_y1) AS y1,
               round(confidence, 3) AS confidence, round(sharpness) AS sharpness, round(score, 3) AS score, scorer
        FROM {table("faces")} ORDER BY (box_x1 - box_x0) * (box_y1 - box_y0) DESC LIMIT 10""",
}.items():
    print(f"\n{title}")
    duckdb.sql(query).show(max_width=160)
