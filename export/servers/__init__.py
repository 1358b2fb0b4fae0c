"""Servers that run models: what their verbs need beside the targets."""
