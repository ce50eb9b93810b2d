"""mnist_s5: digit classification on MNIST with PyTorch, notebook first."""

import lazy_loader

# Names load when they are first used, so an import costs next to nothing. __init__.pyi lists them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
