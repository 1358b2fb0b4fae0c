"""Ensembles and cascades of artifacts: what they are made of, fitted on and worth."""
