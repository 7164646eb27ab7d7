"""Parses faces: a folder of pictures in, a folder of label maps out.

    python lisa.ts --input FOLDER --output FOLDER

``deploy.export`` puts this package into the model file, so that the file is the program. It needs torch,
numpy, Pillow and rich, and nothing of this project. Labels, palette and input size travel in the file too.
Run only model files that you trust: each is a program (``--sha256`` pins the one that ``--model`` names).

Each picture becomes a palette PNG of class ids at the picture's own size (after EXIF rotation; of an
animation, the first frame), in the same subfolder, under the same stem. What can't be read is named and
skipped. Run the same command again to resume: pictures that changed since are done anew, and all of them for
other options or another model. Exit code: 0 all done, 1 some failed, 2 nothing could start, 130 interrupted.

The network was trained on pictures in which the face fills the frame. A model that holds a finder too finds
the faces of whole photographs (``--faces``).

To read: errors, console, machine, pictures, onnx_files, model, files, inputs, output_folder, faces/, finding,
photos, photo_options, cutout, unions, gallery, outputs, report, streams, video/, options, command.
"""
