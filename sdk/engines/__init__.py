"""Engines: graphs compiled for one GPU and kind of frame. How they are keyed, kept, built and given memory."""
