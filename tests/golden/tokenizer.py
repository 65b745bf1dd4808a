"""What transformers' CLIPTokenizer answers for a thousand texts, with CLIP's own vocabulary.

In:   CLIP's vocabulary as OpenAI published it (MIT), which the wheel of open_clip_torch carries.
Out:  tests/golden/tokenizer/tokenizer.json   what the texts need of the vocabulary, under its own ids, as transformers saves it
      tests/golden/tokenizer/texts.json       [text, ids] a line
Never: imports open_clip; the wheel is only where the vocabulary lies.

    python -m pip install --no-deps -r tests/golden/requirements.txt
    python tests/golden/tokenizer.py

A text meets few of the 48,894 merges. Those that any of the texts meets are kept in their order, and all bytes: at each
step the earliest merge that applies is among them, so these texts come out as with all merges. The script checks it.
"""

import argparse
import gzip
import json
import random
import tempfile
from importlib.metadata import distribution
from pathlib import Path

from transformers import CLIPTokenizer

HERE = Path(__file__).resolve().parent / "tokenizer"
START, END = "<|startoftext|>", "<|endoftext|>"
SEED = 20240229


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wide", metavar="FOLDER", type=Path, help="the whole vocabulary and 150,000 texts, for a check that is not committed")
    wide = parser.parse_args().wide
    merges = published_merges()
    vocab = vocabulary(merges)
    if wide:
        wide.mkdir(parents=True, exist_ok=True)
        write_tokenizer(wide, vocab, merges)
        write_texts(wide, [*texts(20_000), *every_character()], vocab, merges)
        return
    HERE.mkdir(exist_ok=True)
    chosen = texts(750)
    used = used_merges(chosen, vocab, merges)
    few = {token: id for token, id in vocab.items() if id < 512 or token in (START, END) or token in {a + b for a, b in used}}
    print(f"{len(chosen)} texts, {len(used)} merges")
    if answers(chosen, vocab, merges) != answers(chosen, few, used):
        raise SystemExit("the smaller vocabulary answers otherwise")
    write_tokenizer(HERE, few, used)
    write_texts(HERE, chosen, few, used)


# The vocabulary


def published_merges():
    """The first 48,894 merges: the rest of the file was never used."""
    path = distribution("open_clip_torch").locate_file("open_clip/bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(Path(path).read_bytes()).decode().split("\n")
    return [tuple(line.split()) for line in lines[1 : 49_152 - 256 - 2 + 1]]


def vocabulary(merges):
    """Token -> id, in the order of OpenAI's code: bytes, bytes at the end of a word, merges, marks."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(rest))]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge) for merge in merges), START, END]
    assert len(tokens) == len(set(tokens)) == 49_408
    return {token: id for id, token in enumerate(tokens)}


def used_merges(chosen, vocab, merges):
    """The merges that any of the texts meets, in their order."""
    rank = {merge: number for number, merge in enumerate(merges)}
    backend = tokenizer_of(vocab, merges).backend_tokenizer
    used = set()
    for text in chosen:
        pieces = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
        for piece in {piece for piece, _ in pieces}:
            parts = [*piece[:-1], piece[-1] + "</w>"]
            while pairs := [pair for pair in zip(parts, parts[1:]) if pair in rank]:
                best = min(pairs, key=rank.get)
                used.add(best)
                merged, at = [], 0
                while at < len(parts):
                    both = tuple(parts[at : at + 2]) == best
                    merged.append("".join(best) if both else parts[at])
                    at += 1 + both
                parts = merged
    return sorted(used, key=rank.get)


def tokenizer_of(vocab, merges):
    return CLIPTokenizer(vocab=vocab, merges=list(merges))


def answers(chosen, vocab, merges):
    return tokenizer_of(vocab, merges)(list(chosen))["input_ids"]


def write_tokenizer(folder, vocab, merges):
    """tokenizer.json as transformers saves it, with the white space taken out."""
    with tempfile.TemporaryDirectory() as saved:
        tokenizer_of(vocab, merges).save_pretrained(saved)
        content = json.loads((Path(saved) / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_texts(folder, chosen, vocab, merges):
    """ASCII only: no editor and no terminal changes what was meant."""
    lines = [json.dumps([text, ids], separators=(",", ":")) for text, ids in zip(chosen, answers(chosen, vocab, merges))]
    (folder / "texts.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


# The texts

WRITTEN = (
    "",
    " ",
    "\t\r\n",
    "a photo of a cat",
    "A PHOTO OF A CAT",
    "a photograph of a real human face",
    "a face generated by a neural network",
    "a deepfake, a face-swapped portrait",
    "an authentic, unedited photo of a person",
    "an AI-generated image made with StyleGAN2 / Stable Diffusion v1.5 @ 512x512px",
    "it's we're they've I'm he'll she'd don't can't 'tis o'clock rock 'n' roll",
    "IT'S WE'RE THEY'VE I'M HE'LL SHE'D DON'T",
    "it\u2019s we\u2019re they\u2019ve I\u2019m \u2018quoted\u2019 \u201cdouble\u201d",
    "'s 't 're 've 'm 'll 'd ''s ' s 'S",
    "!'s ?'t ...'re \"'ve",
    "0 1 12 123 1234567890 3.14159 1,000,000 1e-9 0x1F 10% $9.99 \u20ac5 \u00bd \u2167 \u0663\u0664 \u4e09",
    "two  spaces   three\ttab\nnewline\r\nboth",
    " leading and trailing ",
    "no\u00a0break\u2003em\u3000ideographic\u2028line\u2029paragraph\u0085next\u200bzero\u2060joiner\ufeffmark\u180evowel",
    "&amp; &lt;b&gt; &quot;x&quot; &#39; &nbsp; &#x1F600; &amp;amp;",
    "<b>bold</b> <a href='x'>link</a> <br/>",
    "!!! ??? ... --- *** ,,, ;;; ::: /// \\\\\\ ||| ~~~ ^^^ ``` ___ +++ === <<< >>> ((( ))) [[[ ]]] {{{ }}}",
    "a.b,c;d:e!f?g-h_i+j=k*l/m\\n|o~p^q`r'st\"u(v)w[x]y{z}",
    "caf\u00e9 cafe\u0301 na\u00efve nai\u0308ve \u00c5ngstro\u0308m \u212bngstr\u00f6m \u1e9b\u0323 q\u0307\u0323",
    "stra\u00dfe STRASSE \u1e9e \u0130stanbul I\u0307 \u0131 \u03a3\u03b1\u03c2 \u039f\u0394\u039f\u03a3 \u01c5 \ufb01 \ufb03 \uff21\uff22\uff23 \u2126 \u212a",
    "\u4e00\u5f20\u771f\u5b9e\u7684\u4eba\u8138\u7167\u7247 \u5408\u6210\u7684\u8138",
    "\u672c\u7269\u306e\u9854\u306e\u5199\u771f \u30c7\u30a3\u30fc\u30d7\u30d5\u30a7\u30a4\u30af \uff76\uff9e",
    "\uc9c4\uc9dc \uc5bc\uad74 \uc0ac\uc9c4 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "\u0441\u0438\u043d\u0442\u0435\u0442\u0438\u0447\u0435\u0441\u043a\u043e\u0435 \u043b\u0438\u0446\u043e \u0429\u0401",
    "\u0635\u0648\u0631\u0629 \u0648\u062c\u0647 \u0645\u0632\u064a\u0641\u0629 \u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627",
    "\u05e4\u05e0\u05d9\u05dd \u05d0\u05de\u05d9\u05ea\u05d9\u05d5\u05ea \u05e9\u05bc\u05c1",
    "\u0928\u0915\u0932\u0940 \u091a\u0947\u0939\u0930\u093e \u0e43\u0e1a\u0e2b\u0e19\u0e49\u0e32\u0e1b\u0e25\u0e2d\u0e21",
    "\U0001f600\U0001f602\u2764\ufe0f \U0001f44d\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea 1\ufe0f\u20e3 \U0001f3f4\U000e0067\U000e0062\U000e007f",
    "selfie\U0001f933by\U0001f916robot",
    "\U0001d504\U0001d51f \U00020000\U0002a6d6 \U0001f130 \u2460 \u2122 \u00a9 \u00ae \u2026 \u2014 \u2013 \u00b0 \u00b5",
    "\u0000nul \u0001soh \u001bescape \u007fdelete \ufffdreplacement \ufffenoncharacter \ue000private",
    "https://example.org/a_b/c-d.png?x=1&y=%20#top user@example.org #hashtag @mention",
    f"{START} marks {END} inside {END}",
    f"{START.upper()} {END.upper()} {START}{END}x{END} ",
    "< |endoftext| > <|endoftext|",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "x" * 300,
    "deepfake " * 60,
    "\u0301\u0302\u0303 \u0300a",
    "zalgo t\u0352\u0314e\u0353\u0360x\u0334\u035dt",
)

TEMPLATES = (
    "a photo of {}", "a bad photo of {}", "a low resolution photo of {}", "a close-up photo of {}", "a cropped photo of {}",
    "{}, shot on a phone", "a jpeg corrupted photo of {}", "a {} portrait", "This is {}.", "Is this {}?", "\"{}\" (2024)",
)  # fmt: skip
SUBJECTS = (
    "a real face", "a fake face", "a synthetic person", "a woman", "a man's face", "an elderly couple", "a politician",
    "a news anchor", "a GAN-generated face", "a face swap", "a diffusion-model portrait", "a CGI character", "a wax figure",
    "a child", "an avatar", "somebody's selfie", "a passport photo", "a mugshot", "a celebrity deepfake", "nobody at all",
)  # fmt: skip
RANGES = (
    (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0xE00, 0xE7F), (0x1100, 0x11FF),
    (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFB00, 0xFDFF),
    (0xFF00, 0xFFEF), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF),
)  # fmt: skip


def texts(count):
    """What a person wrote above, templates as prompts have them, and `count` drawn from a seed."""
    draw = random.Random(SEED)
    drawn = [draw.choice((of_signs, of_pieces, of_case))(draw) for _ in range(count)]
    return [*WRITTEN, *(template.format(subject) for template in TEMPLATES for subject in SUBJECTS), *drawn]


def of_signs(draw):
    """Characters of a few scripts, in words."""
    scripts = draw.sample(RANGES, 3)
    words = ["".join(chr(draw.randint(*draw.choice(scripts))) for _ in range(draw.randint(1, 6))) for _ in range(draw.randint(1, 5))]
    return draw.choice((" ", "  ", "\n", "\u3000", "")).join(words)


def of_pieces(draw):
    """Pieces of the written texts in another order."""
    pieces = [piece for text in draw.sample(WRITTEN[3:], 3) for piece in text[:80].split(" ")]
    draw.shuffle(pieces)
    return draw.choice((" ", " ", "", "\t")).join(pieces[: draw.randint(1, 9)])


def of_case(draw):
    """A prompt in odd spelling."""
    prompt = draw.choice(TEMPLATES).format(draw.choice(SUBJECTS))
    return "".join(draw.choice((c, c, c.upper(), c + draw.choice("'.- 7"))) for c in prompt)


def every_character():
    """Each character of the first planes, alone, in a word, and beside a numeral and a sign."""
    planes = [*range(0xD800), *range(0xE000, 0x18000), *range(0x1B000, 0x1BD00), *range(0x1D000, 0x24000), *range(0xE0000, 0xE0200)]
    return [f"{c} a{c}b 1{c}2 !{c}?" for c in map(chr, planes)]


if __name__ == "__main__":
    main()
