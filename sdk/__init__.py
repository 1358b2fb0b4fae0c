"""Image manipulation detection and localisation."""
