"""Videos: their faces followed from frame to frame, one map per frame.

To read: clock, media (files to read), written (files to write), tracking (faces), run.
"""
