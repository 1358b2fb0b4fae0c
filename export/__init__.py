"""From trained PyTorch models to files that production runs: the only place that sees both sides."""
