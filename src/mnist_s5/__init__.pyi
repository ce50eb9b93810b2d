# The names that the course exports; __init__.py loads each when it is first used.
from .augment import draw_affine as draw_affine, warp as warp
from .build import (
    make_loaders as make_loaders, make_model as make_model, make_optimizer as make_optimizer,
    make_scheduler as make_scheduler,
)
from .charts import (
    bars as bars, climb as climb, curves as curves, dots as dots, interval as interval,
    panels as panels, reliability as reliability, train_test_plot as train_test_plot,
)
from .checkpoint import (
    SHIPPED as SHIPPED, CheckpointError as CheckpointError, load_checkpoint as load_checkpoint,
    save_checkpoint as save_checkpoint,
)
from .checks import NotFiniteError as NotFiniteError
from .data import (
    MEAN as MEAN, STD as STD, Digits as Digits, hold_out as hold_out, load_mnist as load_mnist,
    normalize as normalize, test_transforms as test_transforms, train_transforms as train_transforms,
)
from .device import (
    fast_dtype as fast_dtype, get_device as get_device, seed_everything as seed_everything, synchronize as synchronize,
)
from .engine import GetCorrectPredCount as GetCorrectPredCount, Score as Score, test as test, train as train
from .loaders import (
    DeviceLoader as DeviceLoader, get_testloader as get_testloader, get_trainloader as get_trainloader,
    image_loader as image_loader,
)
from .model import Net as Net
from .muon import Muon as Muon, orthogonalize as orthogonalize
from .own_digits import PictureError as PictureError, predict as predict, prepare as prepare
from .parameters import check_parameters as check_parameters
from .picture import TALL as TALL, WIDE as WIDE
from .plots import (
    confusion_matrix as confusion_matrix, data_visualization as data_visualization,
    digit_as_numbers as digit_as_numbers, gallery as gallery,
)
from .raw import DataError as DataError, data_folder as data_folder
from .recipes import RECIPES as RECIPES, Recipe as Recipe, get_recipe as get_recipe
from .runs import (
    CHECKPOINT as CHECKPOINT, TRAINING as TRAINING, RunError as RunError,
    last_checkpoint as last_checkpoint, new_run as new_run, recorded as recorded, save_run as save_run,
    write_metrics as write_metrics,
)
from .summary import (
    Layer as Layer, architecture as architecture, layer_table as layer_table, model_summary as model_summary,
)
from .training import Epoch as Epoch, History as History, Interrupted as Interrupted, fit as fit
