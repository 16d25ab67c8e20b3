"""One thread for every test: pools that wait for a busy core make small work many times slower."""

import torch

torch.set_num_threads(1)
