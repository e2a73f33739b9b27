"""The models and what checks their answers. Heavy libraries are imported inside functions."""
