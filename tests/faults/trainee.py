"""A short training in a process of its own, to be killed: python trainee.py CHECKPOINT; prints what it ends with."""

import sys
from pathlib import Path

import mnist_s5 as s5
from mnist_s5 import training

training.SAVE_EVERY = 7
recipe = s5.get_recipe("fast", "sample", epochs=2.5)
s5.seed_everything(1)
model = s5.make_model(recipe)
loaders = s5.make_loaders(recipe, *s5.load_mnist("sample"))
print("ready", flush=True)
history = s5.fit(model, recipe, *loaders, progress=False, checkpoint=Path(sys.argv[1]))
print("ended", history.weights, [entry[:-1] for entry in history], flush=True)
