"""The package mtcnn 1.0.0 on TensorFlow: the whole cascade with its own defaults but the smallest face.

In, out: as protocol.py says.
"""

import os

from protocol import THREADS, picture, serve, unknown

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tensorflow  # noqa: E402

tensorflow.config.threading.set_intra_op_parallelism_threads(THREADS)
tensorflow.config.threading.set_inter_op_parallelism_threads(1)

from mtcnn import MTCNN  # noqa: E402

MTCNN_HERE = []


def prepare(words):
    match words:
        case ["mtcnn", size, min_face_px]:
            if not MTCNN_HERE:
                MTCNN_HERE.append(MTCNN(device="CPU:0"))
            pixels, smallest = picture(size), int(min_face_px)
            return lambda: MTCNN_HERE[0].detect_faces(pixels, min_face_size=smallest, box_format="xyxy"), told_faces
        case _:
            unknown(words)


def told_faces(found):
    return [[*map(float, face["box"]), float(face["confidence"])] for face in found]


if __name__ == "__main__":
    serve(prepare)
