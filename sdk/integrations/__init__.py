"""Engines that people already operate: one module for each. Nothing here is imported before it is asked for."""
