"""mnist_s5: digit classification on MNIST with PyTorch, notebook first."""

try:
    import lazy_loader
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("mnist_s5 needs lazy-loader. Run: pip install lazy-loader", name="lazy_loader") from error

# Names load on first use, so importing the package is fast. __init__.pyi lists them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
