"""From an artifact to engines: the torch model made of it again, the graphs for builders, the gate they all pass."""
