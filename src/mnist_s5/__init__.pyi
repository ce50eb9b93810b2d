# The names that the course exports. __init__.py loads each one when it is first used.
from .data.augment import (
    apply_affine as apply_affine,
    photometric_distort as photometric_distort,
    sample_affine as sample_affine,
)
from .data.digits import (
    DigitDataset as DigitDataset, load_mnist as load_mnist, normalize as normalize,
    train_val_split as train_val_split,
)
from .data.loaders import get_testloader as get_testloader, get_trainloader as get_trainloader
from .device import get_device as get_device, seed_everything as seed_everything
from .figures.charts import (
    ablation_plot as ablation_plot, bar_chart as bar_chart, histograms as histograms, line_plot as line_plot,
    panels as panels, reliability_diagram as reliability_diagram, strip_plot as strip_plot,
    train_test_plot as train_test_plot,
)
from .figures.guess import Guess as Guess
from .figures.images import (
    confusion_matrix as confusion_matrix, data_visualization as data_visualization,
    digit_as_numbers as digit_as_numbers, image_grid as image_grid, image_map as image_map,
)
from .figures.network import architecture as architecture, layer_table as layer_table, model_summary as model_summary
from .figures.steps import (
    channel_sum as channel_sum, filter_steps as filter_steps, filters_and_maps as filters_and_maps,
)
from .figures.drawing_pad import DrawingPad as DrawingPad
from .figures.watch import Watch as Watch
from .course import course_path as course_path, recorded as recorded
from .jobs.compare import p_value as p_value, read_runs as read_runs
from .jobs.parameters import check_parameters as check_parameters
from .jobs.runs import find_weights as find_weights, new_run as new_run
from .metrics import write_metrics as write_metrics
from .model import Net as Net
from .pictures.classify import classify as classify
from .pictures.find import find_digits as find_digits
from .pictures.own import load_digits as load_digits
from .training.checkpoint import load_checkpoint as load_checkpoint
from .training.fit import (
    fit as fit, make_loaders as make_loaders, make_model as make_model, make_optimizer as make_optimizer,
    make_scheduler as make_scheduler,
)
from .training.loops import (
    GetCorrectPredCount as GetCorrectPredCount, predict as predict, test as test, train as train,
)
from .training.muon import orthogonalize as orthogonalize
from .training.recipes import get_recipe as get_recipe
