"""Everything that is drawn: images, charts, and the network. Each function returns a figure with alt text."""
