"""Parses faces: a folder of pictures in, a folder of label maps out.

    python deploy/predict.py --model lisa.ts --input FOLDER --output FOLDER

An exported model and this package are all it takes, in an environment that holds torch, numpy, Pillow and
rich. The model file carries its labels, palette and input size. It is also a program: run only model files
that you trust (``--sha256`` pins one).

Each picture becomes a palette PNG of class ids at the picture's own size (after EXIF rotation; of an
animation, the first frame), in the same subfolder, under the same stem. What can't be read is named and
skipped. A run that was interrupted goes on where it stopped; pictures that changed since are done anew, and
so are all of them for other options or another model. Exit code: 0 all done, 1 some failed, 2 nothing
could start, 130 interrupted.

The network was trained on pictures in which the face fills the frame: cut faces out of larger scenes first.

To read: errors, machine, pictures, model, inputs, files, gallery, outputs, streams, command.
"""
