"""Rows (JSON on stdin) -> an S3 Inventory in a folder, as the user guide of Amazon S3 describes it.

Written with what everybody has (csv, gzip, urllib, hashlib) and pyarrow, to check our reader against: keys in CSV are
encoded by quote_plus, every cell is quoted, and Parquet has the types that Amazon documents.
"""

import csv
import gzip
import hashlib
import io
import json
import pathlib
import sys
import urllib.parse
from datetime import datetime, timezone

import pyarrow
import pyarrow.parquet

FIELDS = ["Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "LastModifiedDate", "ETag", "StorageClass"]
NAMES = ["bucket", "key", "version_id", "is_latest", "is_delete_marker", "size", "last_modified_date", "e_tag", "storage_class"]
TYPES = [pyarrow.string()] * 3 + [pyarrow.bool_()] * 2 + [pyarrow.int64(), pyarrow.timestamp("ms")] + [pyarrow.string()] * 2


def time(millis):
    return datetime.fromtimestamp(millis / 1000, timezone.utc)


def as_csv(rows):
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in rows:
        cells = ["" if row[name] is None else row[name] for name in NAMES]
        cells = [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]
        cells[1] = urllib.parse.quote_plus(row["key"], safe="/")
        cells[6] = time(row["last_modified_date"]).strftime("%Y-%m-%dT%H:%M:%S.") + f"{row['last_modified_date'] % 1000:03}Z"
        writer.writerow(cells)
    return gzip.compress(text.getvalue().encode())


def as_parquet(rows):
    columns = [pyarrow.array([row[name] for row in rows], type) for name, type in zip(NAMES, TYPES)]
    body = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns, names=NAMES), body, compression="snappy")
    return body.getvalue()


def main():
    root, format, files = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    rows = json.load(sys.stdin)
    prefix = "inventories/archive/daily"
    written = []
    for n in range(files):
        body = (as_csv if format == "CSV" else as_parquet)(rows[n::files])
        key = f"{prefix}/data/{n:04}.{'csv.gz' if format == 'CSV' else 'parquet'}"
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(body)
        written.append({"key": key, "size": len(body), "MD5checksum": hashlib.md5(body).hexdigest()})
    manifest = {
        "sourceBucket": rows[0]["bucket"],
        "destinationBucket": "arn:aws:s3:::results",
        "version": "2016-11-30",
        "creationTimestamp": "1514944800000",
        "fileFormat": format,
        "fileSchema": ", ".join(FIELDS) if format == "CSV" else "message s3.inventory { }",
        "files": written,
    }
    folder = root / prefix / "2026-11-25T01-00Z"
    folder.mkdir(parents=True)
    body = json.dumps(manifest, indent=2).encode()
    (folder / "manifest.json").write_bytes(body)
    (folder / "manifest.checksum").write_text(hashlib.md5(body).hexdigest() + "\n")


main()
