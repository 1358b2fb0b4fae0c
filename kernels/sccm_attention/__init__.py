"""PSCC-Net's spatio-channel correlation on reshaped features."""
