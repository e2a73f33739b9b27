"""What runs on the stand-in: standard library only, Python 3.9 or newer, little of it imported at start."""
