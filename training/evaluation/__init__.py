"""How well a predictor does on images whose truth is known: protocols, readers, predictors, figures, pages."""
