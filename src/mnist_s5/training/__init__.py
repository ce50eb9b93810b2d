"""Recipes, the training and test loops, `fit`, the Muon optimizer, and what a run saves."""
