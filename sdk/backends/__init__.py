"""The registry is this folder: one module per runtime."""
