"""Exact area averaging of a frame down to a working size."""
