"""Encodings of CelebAMask-HQ's labels, as tests write them."""

from lisa.labels.celebamask import CELEBAMASK
from lisa.labels.encoding import Encoding, read_encoding

FACE_PARSING = "face-parsing.pytorch"


def encoding(text: str) -> Encoding:
    return read_encoding(text, CELEBAMASK)
