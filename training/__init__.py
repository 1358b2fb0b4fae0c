"""PyTorch models of image-manipulation detection and localization, and how they are fitted."""
