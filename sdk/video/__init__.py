"""Videos to frames: read by PyAV, in a process of their own."""
