"""How each model is trained, one module per model."""
