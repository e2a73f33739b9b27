"""The programs of the stand-in: standard library only, for they also run in a container."""
