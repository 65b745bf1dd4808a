"""Draw the sample video tests/media/good/clip.mp4.

In:   the head that `make_good.py` cuts from `astronaut` (NASA, public domain), and ffmpeg with libx264 on the PATH.
Out:  tests/media/good/clip.mp4: 4 s, 25 frames a second, 480x270, H.264 baseline, a key frame every second, no sound.
Never: draws at random; the same wheels and the same ffmpeg give the same file.

    python -m pip install --no-deps -r tests/golden/requirements.txt
    python tests/media/make_clip.py
"""

import math
import subprocess

from make_good import GOOD, Face, compose

SIZE = (480, 270)
RATE = 25
FRAMES = 4 * RATE

ENCODE = (
    f"ffmpeg -y -v error -f rawvideo -pix_fmt rgb24 -video_size {SIZE[0]}x{SIZE[1]} -framerate {RATE} -i pipe:0 "
    # Full of key frames, without frames out of order: what a first look at sampling should meet.
    f"-c:v libx264 -profile:v baseline -preset slow -crf 24 -g {RATE} -sc_threshold 0 -pix_fmt yuv420p "
    # One thread, no date and no version: the same bytes again.
    "-threads 1 -fflags +bitexact -flags:v +bitexact -map_metadata -1 -movflags +faststart -f mp4"
)


def faces(seconds):
    """Two people: one comes nearer from the left, one nods on the right. They never cover each other."""
    part = seconds * RATE / FRAMES  # 0 to 1 over the clip
    nearer = Face((round(95 + 110 * part), round(140 + 10 * math.sin(2 * math.pi * part))), round(70 + 36 * part))
    nod = math.sin(2 * math.pi * 1.5 * part)
    nodding = Face((380, round(125 + 22 * nod)), 64, flip=True, brightness=0.9, degrees=round(8 * nod))
    return nearer, nodding


def main():
    target = GOOD / "clip.mp4"
    command = [*ENCODE.split(), str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        for number in range(FRAMES):
            encoder.stdin.write(compose(SIZE, faces(number / RATE)).tobytes())
        encoder.stdin.close()
        if encoder.wait() != 0:
            raise SystemExit("ffmpeg failed")
    print(f"{target.name}: {SIZE[0]}x{SIZE[1]}, {FRAMES} frames, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
