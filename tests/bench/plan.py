"""What plan.sh plans: lists of objects that are nowhere, and results of runs that never were.

    plan.py FOLDER OBJECTS FINISHED PART     makes inventory-csv/, inventory-parquet/, keys.csv and earlier/ in FOLDER
    plan.py serve                            a bucket that answers every listing with nothing, on a port that it prints

OBJECTS stand in no order, neither across files nor in one. Keys have 66 bytes. Nine of ten are photographs of 0.2 to 8 MB,
one of twenty is a video of 2 to 200 MB, the rest has other endings. FINISHED of them stand in tables of `media`, a thousand
in each part, with the columns and the footer of PART, which a real run wrote.
"""

import hashlib
import http.server
import json
import pathlib
import sys

BUCKET = "archive"
FILE_OBJECTS = 500_000
PART_OBJECTS = 1_000
FIELDS = ["Bucket", "Key", "Size", "LastModifiedDate", "ETag", "StorageClass"]
NAMES = ["bucket", "key", "size", "last_modified_date", "e_tag", "storage_class"]


def hexadecimal(random, count, length):
    """`count` texts of `length` random digits."""
    text = random.bytes(count * length // 2).hex().encode()
    offsets = numpy.arange(0, count * length + 1, length, dtype=numpy.int32)
    buffers = [None, pyarrow.py_buffer(offsets), pyarrow.py_buffer(text)]
    return pyarrow.StringArray.from_buffers(count, buffers[1], buffers[2])


def joined(*pieces):
    return compute.binary_join_element_wise(*pieces, "")


def padded(numbers, width):
    return compute.utf8_lpad(pyarrow.array(numbers).cast(pyarrow.string()), width, "0")


def objects(first, count, random):
    at = numpy.arange(first, first + count)
    kind = random.random(count)
    is_photo, is_video = kind < 0.9, kind >= 0.95
    ending = pyarrow.array(numpy.where(is_photo, ".jpg", numpy.where(is_video, ".mp4", ".json")), pyarrow.string())
    size = numpy.where(is_video, random.integers(2_000_000, 200_000_000, count), random.integers(200_000, 8_000_000, count))
    random_hex = hexadecimal(random, count, 18)
    key = joined(
        "archive/2026/", padded(random.integers(1, 13, count), 2), "/", padded(random.integers(1, 29, count), 2),
        "/camera-", padded(at % 241, 3), "/", random_hex, "/IMG_", padded(at, 8), ending,
    )
    modified = pyarrow.array(1_764_000_000_000 + random.integers(0, 10**10, count), pyarrow.timestamp("ms"))
    columns = [[BUCKET] * count, key, size, modified, hexadecimal(random, count, 32), ["STANDARD"] * count]
    return pyarrow.table(columns, names=NAMES), is_video


def as_csv(table, path):
    times = compute.strftime(table["last_modified_date"], "%Y-%m-%dT%H:%M:%SZ")
    table = table.set_column(3, "last_modified_date", times)
    table = table.set_column(2, "size", table["size"].cast(pyarrow.string()))
    options = csv.WriteOptions(include_header=False, quoting_style="all_valid")
    with pyarrow.CompressedOutputStream(str(path), "gzip") as stream:
        csv.write_csv(table, stream, options)


def as_parquet(table, path):
    parquet.write_table(table, path, compression="snappy")


def media_ids(table):
    """As the program makes them: see `media_number`."""

    def sized(text):
        return len(text).to_bytes(8, "little") + text

    bucket = sized(BUCKET.encode())
    pairs = zip(table["key"].cast(pyarrow.binary()).to_pylist(), table["e_tag"].cast(pyarrow.binary()).to_pylist())
    return [hashlib.sha256(bucket + sized(key) + sized(etag)).hexdigest()[:32] for key, etag in pairs]


class Earlier:
    def __init__(self, folder, part):
        self.row = parquet.read_table(part, partitioning=None).slice(0, 1)
        said = parquet.read_metadata(part).metadata
        self.footer = {name: value for name, value in said.items() if name != b"ARROW:schema"}
        self.folder = folder / "media" / "dt=2026-01-01" / "run=before"
        self.folder.mkdir(parents=True)
        self.parts = 0

    def add(self, table, is_video, random):
        ids = media_ids(table)
        for first in range(0, len(ids), PART_OBJECTS):
            some = table.slice(first, PART_OBJECTS)
            count = len(some)
            video = is_video[first : first + count]
            told = {
                "media_id": ids[first : first + count],
                "bucket": some["bucket"],
                "key": some["key"],
                "etag": some["e_tag"],
                "size_bytes": some["size"],
                "modified": some["last_modified_date"].cast(pyarrow.timestamp("us", "UTC")),
                "kind": numpy.where(video, "video", "image"),
            }
            told |= {f"seconds_{stage}": random.random(count) for stage in ("fetch", "decode", "detect", "embed")}
            rows = self.row.take([0] * count)
            for at, field in enumerate(rows.schema):
                if field.name in told:
                    column = told[field.name]
                    column = column if isinstance(column, pyarrow.ChunkedArray) else pyarrow.array(column, field.type)
                    rows = rows.set_column(at, field, column)
            rows = rows.replace_schema_metadata(self.footer)
            parquet.write_table(rows, self.folder / f"part-00000-{self.parts:06}.parquet", compression="zstd")
            self.parts += 1


def make(folder, count, finished, part):
    random = numpy.random.default_rng(2026)
    forms = {"csv": ("CSV", as_csv, "csv.gz", ", ".join(FIELDS)), "parquet": ("Parquet", as_parquet, "parquet", "message")}
    files = {name: [] for name in forms}
    for name in forms:
        (folder / f"inventory-{name}" / "data").mkdir(parents=True)
    earlier = Earlier(folder / "earlier", part)
    with open(folder / "keys.csv", "wb") as keys:
        for n, first in enumerate(range(0, count, FILE_OBJECTS)):
            table, is_video = objects(first, min(FILE_OBJECTS, count - first), random)
            for name, (_, write, ending, _) in forms.items():
                path = folder / f"inventory-{name}" / "data" / f"{n:04}.{ending}"
                write(table, path)
                with open(path, "rb") as body:
                    md5 = hashlib.file_digest(body, "md5").hexdigest()
                files[name].append({"key": f"data/{path.name}", "size": path.stat().st_size, "MD5checksum": md5})
            # Of each file the same share.
            some = round(finished / count * len(table))
            earlier.add(table.slice(0, some), is_video[:some], random)
            listed = table.drop_columns(["last_modified_date", "storage_class"])
            csv.write_csv(listed, keys, csv.WriteOptions(include_header=first == 0, quoting_style="needed"))
    for name, (format, _, _, schema) in forms.items():
        manifest = {
            "sourceBucket": BUCKET,
            "destinationBucket": "arn:aws:s3:::inventories",
            "version": "2016-11-30",
            "creationTimestamp": "1764000000000",
            "fileFormat": format,
            "fileSchema": schema,
            "files": files[name],
        }
        (folder / f"inventory-{name}" / "manifest.json").write_text(json.dumps(manifest))


class Empty(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"<ListBucketResult><Name>{BUCKET}</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


if sys.argv[1] == "serve":
    server = http.server.HTTPServer(("127.0.0.1", 0), Empty)
    print(server.server_port, flush=True)
    server.serve_forever()

import numpy
import pyarrow
from pyarrow import compute, csv, parquet

make(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
