"""Evidence: what was found in an upload, by what, and what was done; to be signed, chained, replayed and shown."""
