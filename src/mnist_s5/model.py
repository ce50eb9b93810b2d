"""The network of the course: four convolutions and two linear layers, 593,200 parameters."""

import torch.nn.functional as F
from torch import Tensor, nn


class Net(nn.Module):
    """The network of the reference (the published course assignment that this course reimplements), unchanged.

    It takes normalized digits, float [N, 1, 28, 28], and returns log-probabilities, float [N, 10]. The comments in
    `forward` give the width of the feature maps in pixels, before and after.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.conv3 = nn.Conv2d(64, 128, kernel_size=3)
        self.conv4 = nn.Conv2d(128, 256, kernel_size=3)
        self.fc1 = nn.Linear(4096, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))  # 28>26
        x = F.relu(F.max_pool2d(self.conv2(x), 2))  # 26>24>12
        x = F.relu(self.conv3(x))  # 12>10
        x = F.relu(F.max_pool2d(self.conv4(x), 2))  # 10>8>4
        x = x.flatten(start_dim=1)  # 4*4*256 = 4096
        x = F.relu(self.fc1(x))
        return F.log_softmax(self.fc2(x), dim=1)
