"""The digits, their download, augmentation, and loaders."""
