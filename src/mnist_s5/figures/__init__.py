"""Figures of images, numbers, and the network. Each function returns a figure with alt text."""
