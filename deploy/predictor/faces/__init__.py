"""Whole photographs: the parser finds faces, aligns each by its own label maps, and labels them in the photo.

No detector: an aligned face has its eyes, brows, nose and mouth at known places. The search looks for label
maps that lie like that (search), fits a similarity to their centres (similarity), cuts the face out along it
and looks again until it stands still (align), parses it at the network's size and puts the labels back into
the photo (put_back). Where two networks share the work, the parsing one has the last word (settle). finder.py
and ../photos.py do all of it; arrangement.py says where the parts of an aligned face are.
"""
