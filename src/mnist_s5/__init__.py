"""mnist_s5: digit classification on MNIST with PyTorch, notebook first."""

import lazy_loader

# Names load on first use, so importing the package is fast. __init__.pyi lists them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
