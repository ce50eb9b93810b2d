"""From anybody's picture to digits in MNIST's format, and their classification."""
