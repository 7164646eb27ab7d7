"""Videos: their faces followed from frame to frame, one map per frame.

To read: media (files), tracking (faces), run.
"""
