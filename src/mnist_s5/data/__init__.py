"""The digits: download and verify the files, load, augment, and batch them, and read images of your own digits."""
