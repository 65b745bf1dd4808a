"""A baseline JPEG writer that leaves nothing out: any sampling factors, any order of scans, restart markers as told.

No encoder at hand writes these files. What is right for them is what Pillow (libjpeg-turbo) decodes, not what went in.
"""

import struct

import numpy as np

ZIGZAG = np.array(sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8)))
# T.81, K.3: counts and values of the tables for brightness, which do for every component.
DC = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]), bytes(range(12))
AC = bytes([0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D]), bytes.fromhex(
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a"
    "434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aa"
    "b2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
STEP = 6  # of quantisation, for every coefficient


def codes(table):
    found, code, at = {}, 0, 0
    for length, count in enumerate(table[0], 1):
        for _ in range(count):
            found[table[1][at]] = (code, length)
            code, at = code + 1, at + 1
        code <<= 1
    return found


DC_CODES, AC_CODES = codes(DC), codes(AC)
COSINES = np.array([[np.cos((2 * x + 1) * u * np.pi / 16) * (0.5 if u else 8**-0.5) for x in range(8)] for u in range(8)])


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def shrink(plane, across, down):
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % down), (0, -width % across)), mode="edge").astype(float)
    return padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across).mean(axis=(1, 3))


class Bits:
    def __init__(self):
        self.bits = []

    def put(self, value, length):
        self.bits += [value >> at & 1 for at in range(length - 1, -1, -1)]

    def bytes(self):
        bits = self.bits + [1] * (-len(self.bits) % 8)
        return np.packbits(bits).tobytes().replace(b"\xff", b"\xff\x00")


def number(value):
    size = int(abs(value)).bit_length()
    return size, value if value >= 0 else value + (1 << size) - 1


def write_block(bits, block, before):
    size, value = number(int(block[0]) - before)
    bits.put(*DC_CODES[size])
    bits.put(value, size)
    run, last = 0, max(np.flatnonzero(block[1:]), default=-1) + 1
    for coefficient in block[1 : last + 1]:
        if coefficient == 0:
            run += 1
            continue
        while run > 15:
            bits.put(*AC_CODES[0xF0])
            run -= 16
        size, value = number(int(coefficient))
        bits.put(*AC_CODES[run << 4 | size])
        bits.put(value, size)
        run = 0
    if last < 63:
        bits.put(*AC_CODES[0])
    return int(block[0])


def jpeg(planes, sampling, scans=None, adobe=None, jfif=True, interval=0, restarts=None):
    """`planes` at full size; `sampling` as (across, down); `scans` as lists of components; `restarts(number)` gives the
    bytes of a restart marker."""
    height, width = planes[0].shape
    most = max(s[0] for s in sampling), max(s[1] for s in sampling)
    units = -(-width // (8 * most[0])), -(-height // (8 * most[1]))
    blocks = []
    for plane, (across, down) in zip(planes, sampling):
        rows, columns = 8 * units[1] * down, 8 * units[0] * across
        small = shrink(plane, most[0] // across, most[1] // down)
        small = np.pad(small, ((0, rows), (0, columns)), mode="edge")[:rows, :columns] - 128
        tiles = small.reshape(rows // 8, 8, columns // 8, 8).transpose(0, 2, 1, 3)
        numbers = np.rint(COSINES @ tiles @ COSINES.T / STEP).astype(int)
        blocks.append(numbers.reshape(rows // 8, columns // 8, 64)[:, :, ZIGZAG])
    out = b"\xff\xd8"
    if jfif:
        out += segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    if adobe is not None:
        out += segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([adobe]))
    out += segment(0xDB, b"\0" + bytes([STEP] * 64))
    parts = b"".join(bytes([at + 1, s[0] << 4 | s[1], 0]) for at, s in enumerate(sampling))
    out += segment(0xC0, struct.pack(">BHHB", 8, height, width, len(planes)) + parts)
    out += segment(0xC4, b"\x00" + DC[0] + DC[1]) + segment(0xC4, b"\x10" + AC[0] + AC[1])
    if interval:
        out += segment(0xDD, struct.pack(">H", interval))
    for scan in scans or [list(range(len(planes)))]:
        out += segment(0xDA, bytes([len(scan)]) + b"".join(bytes([c + 1, 0]) for c in scan) + b"\0\x3f\0")
        if len(scan) == 1:
            (across, down) = sampling[scan[0]]
            columns = -(-(-(-width * across // most[0])) // 8)
            rows = -(-(-(-height * down // most[1])) // 8)
            order = [[(scan[0], y, x)] for y in range(rows) for x in range(columns)]
        else:
            order = [
                [(c, uy * sampling[c][1] + v, ux * sampling[c][0] + h) for c in scan for v in range(sampling[c][1]) for h in range(sampling[c][0])]
                for uy in range(units[1])
                for ux in range(units[0])
            ]
        bits, before, count = Bits(), [0] * 4, 0
        for at, unit in enumerate(order):
            if interval and at and at % interval == 0:
                out += bits.bytes() + (restarts(count) if restarts else bytes([0xFF, 0xD0 + count % 8]))
                bits, before, count = Bits(), [0] * 4, count + 1
            for c, y, x in unit:
                before[c] = write_block(bits, blocks[c][y, x], before[c])
        out += bits.bytes()
    return out + b"\xff\xd9"
