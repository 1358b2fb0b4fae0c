"""Frames in order to analyses in order: what runs, what it gives, what is said about it."""
