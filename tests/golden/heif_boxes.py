"""Writes HEIF files box by box (ISO/IEC 14496-12, 23008-12), in every version of every box, for heif.py."""

import struct


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + kind + body


def full(kind, version, flags, *parts):
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def ispe(width, height):
    return full(b"ispe", 0, 0, struct.pack(">II", width, height))


def irot(quarters):
    return box(b"irot", bytes([quarters]))


def imir(axis):
    return box(b"imir", bytes([axis]))


def clap(width, height, right=(0, 1), down=(0, 1)):
    return box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, *right, *down))


def nclx(primaries, transfer, matrix, full_range):
    return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, matrix, full_range << 7))


def auxc(urn):
    return full(b"auxC", 0, 0, urn.encode() + b"\0")


def grid(rows, columns, width, height, long=False):
    size = struct.pack(">II" if long else ">HH", width, height)
    return bytes([0, int(long), rows - 1, columns - 1]) + size


def overlay(background, width, height, places):
    return struct.pack(">BB4HHH", 0, 0, *background, width, height) + b"".join(struct.pack(">hh", *p) for p in places)


class Heif:
    """Items in the order in which they are added; numbers from `first_id` on."""

    def __init__(self, brands=(b"heic", b"mif1", b"heic"), first_id=1, **versions):
        self.brands, self.next_id, self.primary = brands, first_id, first_id
        self.items, self.refs = [], []
        # iloc, iinf, infe, ipma, iref, pitm, wide (16-bit property numbers)
        self.versions = {"iloc": 1, "iinf": 0, "infe": 2, "ipma": 0, "iref": 0, "pitm": 0, "wide": 0, **versions}

    def add(self, kind, data, properties=(), *, hidden=False, in_idat=False, extents=1, **refs):
        """`properties`: boxes; those that change the picture or set the decoder up are marked essential."""
        self.items.append((self.next_id, kind, data, list(properties), hidden, in_idat, extents))
        for name, to in refs.items():
            self.refs.append((name.encode(), self.next_id, to if isinstance(to, list) else [to]))
        self.next_id += 1
        return self.next_id - 1

    def bytes(self, extra=b""):
        ftyp = box(b"ftyp", self.brands[0], b"\0\0\0\0", *self.brands[1:])
        idat = b"".join(item[2] for item in self.items if item[5])
        meta = self._meta(0, idat)
        before = len(ftyp) + len(meta) + len(extra) + 8
        media = b"".join(item[2] for item in self.items if not item[5])
        return ftyp + self._meta(before, idat) + extra + box(b"mdat", media)

    def _meta(self, begin, idat):
        v = self.versions
        hdlr = full(b"hdlr", 0, 0, b"\0\0\0\0pict", bytes(13))
        pitm = full(b"pitm", v["pitm"], 0, struct.pack(">I" if v["pitm"] else ">H", self.primary))
        infes = []
        for id_, kind, _, _, hidden, _, _ in self.items:
            number = struct.pack(">I" if v["infe"] == 3 else ">H", id_)
            infes.append(full(b"infe", v["infe"], int(hidden), number, b"\0\0", kind, b"\0"))
        count = struct.pack(">I" if v["iinf"] else ">H", len(infes))
        iinf = full(b"iinf", v["iinf"], 0, count, *infes)
        boxes = [hdlr, pitm, self._iloc(begin), iinf]
        if self.refs:
            form = ">I" if v["iref"] else ">H"
            one = lambda name, a, to: box(
                name, struct.pack(form, a), struct.pack(">H", len(to)), *(struct.pack(form, t) for t in to)
            )
            boxes.append(full(b"iref", v["iref"], 0, *(one(*ref) for ref in self.refs)))
        boxes.append(self._iprp())
        if idat:
            boxes.append(box(b"idat", idat))
        return full(b"meta", 0, 0, *boxes)

    def _iloc(self, begin):
        version = self.versions["iloc"]
        entries, at, in_idat = [], begin, 0
        for id_, _, data, _, _, idat, extents in self.items:
            if not data:
                continue  # an identity has no bytes and no place
            start = in_idat if idat else at
            step = -(-len(data) // extents)
            pieces = [(o, min(step, len(data) - o)) for o in range(0, len(data), step)]
            entry = struct.pack(">I" if version == 2 else ">H", id_)
            if version:
                entry += struct.pack(">H", int(idat))
            entry += struct.pack(">HIH", 0, start, len(pieces))
            entries.append(entry + b"".join(struct.pack(">II", *p) for p in pieces))
            in_idat, at = (in_idat + len(data), at) if idat else (in_idat, at + len(data))
        count = struct.pack(">I" if version == 2 else ">H", len(entries))
        return full(b"iloc", version, 0, b"\x44\x40", count, *entries)

    def _iprp(self):
        known, ipma = [], []
        wide = self.versions["wide"]
        for id_, _, _, properties, *_ in self.items:
            entry = struct.pack(">I" if self.versions["ipma"] else ">H", id_) + bytes([len(properties)])
            for one in properties:
                if one not in known:
                    known.append(one)
                essential = one[4:8] in (b"hvcC", b"av1C", b"irot", b"imir", b"clap")
                number = known.index(one) + 1
                entry += struct.pack(">H", essential << 15 | number) if wide else bytes([essential << 7 | number])
            ipma.append(entry)
        associations = full(b"ipma", self.versions["ipma"], wide, struct.pack(">I", len(ipma)), *ipma)
        return box(b"iprp", box(b"ipco", *known), associations)


def track(entry_kind, width, height, configuration, sample_bytes, offset):
    """A `moov` of one sample, as a sequence without items has it."""
    entry = box(
        entry_kind, bytes(6), b"\0\1", bytes(16), struct.pack(">HH", width, height), b"\0\x48\0\0" * 2, bytes(4), b"\0\1",
        bytes(32), b"\0\x18\xff\xff", configuration,
    )  # fmt: skip
    stbl = box(
        b"stbl",
        full(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        full(b"stts", 0, 0, struct.pack(">III", 1, 1, 1)),
        full(b"stsc", 0, 0, struct.pack(">IIII", 1, 1, 1, 1)),
        full(b"stsz", 0, 0, struct.pack(">III", 0, 1, sample_bytes)),
        full(b"stco", 0, 0, struct.pack(">II", 1, offset)),
    )
    unity = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    url = box(b"dinf", full(b"dref", 0, 0, struct.pack(">I", 1), full(b"url ", 0, 1)))
    minf = box(b"minf", full(b"vmhd", 0, 1, bytes(8)), url, stbl)
    mdia = box(
        b"mdia",
        full(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, 1, 1, 0x55C4, 0)),
        full(b"hdlr", 0, 0, b"\0\0\0\0pict", bytes(13)),
        minf,
    )
    tkhd = full(b"tkhd", 0, 3, struct.pack(">5I", 0, 0, 1, 0, 1), bytes(16), unity, struct.pack(">II", width << 16, height << 16))
    mvhd = full(b"mvhd", 0, 0, struct.pack(">IIIIIH", 0, 0, 1, 1, 0x10000, 0x100), bytes(10), unity, bytes(24), b"\0\0\0\2")
    return box(b"moov", mvhd, box(b"trak", tkhd, mdia))
