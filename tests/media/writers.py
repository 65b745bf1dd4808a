"""Writes image files byte by byte.

In: numpy arrays of samples. Out: bytes of a file, or of a piece of one.
Used where an encoder cannot write the variant (interlaced PNG, big-endian TIFF), or would refuse to write it (a broken one).
Nothing here reads a clock, a random source or a file.
"""

import struct
import zlib

import numpy as np

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_GREY, PNG_RGB, PNG_PALETTE, PNG_GREY_ALPHA, PNG_RGB_ALPHA = 0, 2, 3, 4, 6

# (first column, first row, column step, row step) of the seven passes, PNG specification, section 8.2.
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


# ---- PNG -------------------------------------------------------------------------------------------------------------

def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height, bits, colour, interlaced=False):
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced)))


def png_rows(samples, bits):
    """samples [h, w] or [h, w, channels] -> rows, each with the filter byte that makes it small (None or Sub or Up)."""
    height, width = samples.shape[:2]
    samples = samples.reshape(height, -1)
    if bits == 16:
        rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    elif bits == 8:
        rows = samples.astype(np.uint8)
    else:
        as_bits = np.unpackbits(samples.astype(np.uint8)[:, :, None], axis=2)[:, :, 8 - bits:]
        rows = np.packbits(as_bits.reshape(height, -1), axis=1)
    step = max(1, samples.shape[1] // width * bits // 8)
    out, above = bytearray(), np.zeros_like(rows[0])
    for row in rows:
        left = np.concatenate([np.zeros(step, np.uint8), row[:-step]])
        tries = [row, row - left, row - above] if bits >= 8 else [row]
        sums = [int(np.abs(t.view(np.int8).astype(int)).sum()) for t in tries]
        best = sums.index(min(sums))
        out += bytes([best]) + tries[best].tobytes()
        above = row
    return bytes(out)


def png(samples, bits, colour, before_data=b"", interlaced=False):
    """before_data: chunks such as PLTE, tRNS, eXIf."""
    height, width = samples.shape[:2]
    if interlaced:
        passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        rows = b"".join(png_rows(p, bits) for p in passes if p.size)
    else:
        rows = png_rows(samples, bits)
    return (PNG_SIGNATURE + png_header(width, height, bits, colour, interlaced) + before_data
            + png_chunk(b"IDAT", zlib.compress(rows, 9)) + png_chunk(b"IEND", b""))


# ---- GIF -------------------------------------------------------------------------------------------------------------

def gif_lzw(indexes, min_code_bits):
    """Colour indexes -> sub-blocks with variable-length codes, GIF89a specification, appendix F."""
    clear, end = 1 << min_code_bits, (1 << min_code_bits) + 1
    bits, bit_count, out = 0, 0, bytearray()

    def put(code, width):
        nonlocal bits, bit_count
        bits |= code << bit_count
        bit_count += width
        while bit_count >= 8:
            out.append(bits & 255)
            bits >>= 8
            bit_count -= 8

    table, width = {}, min_code_bits + 1
    put(clear, width)
    prefix = int(indexes[0])
    for index in map(int, indexes[1:]):
        if (prefix, index) in table:
            prefix = table[prefix, index]
            continue
        put(prefix, width)
        code = end + 1 + len(table)
        if code == 4096:
            put(clear, width)
            table, width = {}, min_code_bits + 1
        else:
            table[prefix, index] = code
            width += code == 1 << width
        prefix = index
    put(prefix, width)
    put(end, width)
    if bit_count:
        out.append(bits)
    blocks = b"".join(bytes([len(out[i:i + 255])]) + out[i:i + 255] for i in range(0, len(out), 255))
    return bytes([min_code_bits]) + blocks + b"\0"


def gif_start(width, height, palette, loops=False):
    """palette [2, 4, … or 256, 3]; the first colour is the background."""
    size_bits = len(palette).bit_length() - 1
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00" if loops else b""
    return (b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF0 | (size_bits - 1), 0, 0)
            + palette.astype(np.uint8).tobytes() + loop)


def gif_frame(indexes, colours, left=0, top=0, transparent=None, interlaced=False, disposal=1, delay_cs=10):
    """indexes [h, w]. Unless told otherwise the frame stays on the canvas and is shown for a tenth of a second."""
    height, width = indexes.shape
    if interlaced:
        indexes = np.concatenate([indexes[0::8], indexes[4::8], indexes[2::4], indexes[1::2]])
    control = struct.pack("<BBBBHBB", 0x21, 0xF9, 4, disposal << 2 | (transparent is not None), delay_cs, transparent or 0, 0)
    descriptor = struct.pack("<BHHHHB", 0x2C, left, top, width, height, 0x40 * interlaced)
    return control + descriptor + gif_lzw(indexes.reshape(-1), max(2, colours.bit_length() - 1))


# ---- BMP -------------------------------------------------------------------------------------------------------------

def bmp(samples, palette=None, top_down=False):
    """samples [h, w, 3] (RGB), [h, w, 4] (RGBA, with a V4 header and masks) or [h, w] with a palette [n, 3]."""
    height, width = samples.shape[:2]
    if palette is not None:
        bits, rows = 8, samples
        table = np.concatenate([palette[:, ::-1], np.zeros((len(palette), 1), int)], axis=1).astype(np.uint8).tobytes()
    else:
        bits, table = 8 * samples.shape[2], b""
        rows = samples[:, :, [2, 1, 0, 3][:samples.shape[2]]].reshape(height, -1)
    rows = np.pad(rows.astype(np.uint8), ((0, 0), (0, -rows.shape[1] % 4)))
    data = (rows if top_down else rows[::-1]).tobytes()
    if bits == 32:
        masks = struct.pack("<IIII4s48x", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, b"BGRs")
    else:
        masks = b""
    info = bmp_info(width, -height if top_down else height, bits, len(data), masks, 0 if palette is None else len(palette))
    offset = 14 + len(info) + len(table)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + table + data


def bmp_info(width, height, bits, data_len, masks=b"", colours=0):
    compression = 3 if masks else 0
    return struct.pack("<IiiHHIIiiII", 40 + len(masks), width, height, 1, bits, compression, data_len, 2835, 2835, colours, 0) + masks


# ---- TIFF ------------------------------------------------------------------------------------------------------------

TIFF_TYPES = {"H": 3, "I": 4}


def tiff_ifd(order, entries, at, next_ifd=0):
    """entries: {tag: ("H" or "I", [values])}; at: where the directory will stand. Long values follow the directory."""
    tail_at = at + 2 + 12 * len(entries) + 4
    head, tail = struct.pack(order + "H", len(entries)), b""
    for tag in sorted(entries):
        kind, values = entries[tag]
        data = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(data) > 4:
            place = struct.pack(order + "I", tail_at + len(tail))
            tail += data
        else:
            place = data.ljust(4, b"\0")
        head += struct.pack(order + "HHI", tag, TIFF_TYPES[kind], len(values)) + place
    return head + struct.pack(order + "I", next_ifd) + tail


def tiff_start(order, first_ifd):
    return (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, first_ifd)


def tiff(samples, photometric, order="<", tile=None, extra=None, rows_per_strip=16):
    """samples [h, w] or [h, w, channels], 8 or 16 bit, uncompressed, in strips or in square tiles."""
    height, width = samples.shape[:2]
    samples = samples.reshape(height, width, -1)
    channels, bits = samples.shape[2], samples.dtype.itemsize * 8
    stored = samples.astype(samples.dtype.newbyteorder(order))
    if tile:
        padded = np.pad(stored, ((0, -height % tile), (0, -width % tile), (0, 0)))
        parts = [padded[y:y + tile, x:x + tile] for y in range(0, height, tile) for x in range(0, width, tile)]
    else:
        parts = [stored[y:y + rows_per_strip] for y in range(0, height, rows_per_strip)]
    parts = [part.tobytes() for part in parts]
    offsets, at = [], 8
    for part in parts:
        offsets.append(at)
        at += len(part)
    lengths = [len(part) for part in parts]
    entries = {256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * channels), 259: ("H", [1]),
               262: ("H", [photometric]), 277: ("H", [channels]), 284: ("H", [1])}
    if tile:
        entries |= {322: ("I", [tile]), 323: ("I", [tile]), 324: ("I", offsets), 325: ("I", lengths)}
    else:
        entries |= {273: ("I", offsets), 278: ("I", [rows_per_strip]), 279: ("I", lengths)}
    return tiff_start(order, at) + b"".join(parts) + tiff_ifd(order, entries | (extra or {}), at)


# ---- EXIF, JPEG ------------------------------------------------------------------------------------------------------

def exif(orientation, order="<"):
    """A TIFF header and one directory with one entry: the orientation."""
    return tiff_start(order, 8) + tiff_ifd(order, {274: ("H", [orientation])}, 8)


def jpeg_segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg_with(jpeg, segments):
    """Puts segments right behind the start of image, where EXIF has to stand."""
    return jpeg[:2] + segments + jpeg[2:]


def jpeg_marker_at(jpeg, markers):
    """Where the first segment with one of these markers starts."""
    at = 2
    while jpeg[at + 1] not in markers:
        at += 2 + struct.unpack(">H", jpeg[at + 2:at + 4])[0]
    return at
