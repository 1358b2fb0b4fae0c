"""ManTra-Net's Z-score pooling: how far every feature lies from its surroundings, in deviations of the frame."""
