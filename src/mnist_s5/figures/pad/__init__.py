"""The drawing pad: its widget in Python, and what the browser runs in JavaScript."""
