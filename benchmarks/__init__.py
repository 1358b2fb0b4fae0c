"""Measurements of the public interface; every figure that is quoted comes from a committed file in ``results``."""
