"""The notebook's problem through pythae's trainer: its beta-VAE around the notebook's network.

What pythae lacks is added by the means it offers: β's warm-up by a callback, clipping by a trainer
of its own. Its loss is half the notebook's, a row instead of a batch; β and the norm are scaled
alike. As its trainer does without dates to evaluate on, it copies the best model as it goes; what
is scored is the last one, as in the notebook.
"""

import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from notebook_problem import (
    BATCH_SIZE,
    CLIP_NORM,
    LEARNING_RATE,
    N_FACTORS,
    Problem,
    Row,
    beta_at,
)
from pythae.data.datasets import BaseDataset
from pythae.models import BetaVAE, BetaVAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor
from torch_rows import TRIED_EPOCHS, VAE, make_vae, use_fastest_threads, vae_error

HALF = 0.5


class Encoder(BaseEncoder):
    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.hidden, self.mean, self.log_variance = vae.encoder, vae.fc_mu, vae.fc_logvar

    def forward(self, x: Tensor) -> ModelOutput:
        h = self.hidden(x)
        return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))


class Decoder(BaseDecoder):
    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.layers = vae.decoder

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z))


class Warmup(TrainingCallback):
    """β by epoch; pythae counts epochs from 1."""

    def __init__(self, model: BetaVAE) -> None:
        self.model = model

    def on_epoch_begin(self, training_config: BaseTrainerConfig, **kwargs: Any) -> None:
        self.model.beta = HALF * beta_at(kwargs["epoch"] - 1, training_config.num_epochs)


class ClippingTrainer(BaseTrainer):
    def _optimizers_step(self, model_output: Any = None) -> None:
        self.optimizer.zero_grad()
        model_output.loss.backward()
        norm = HALF * CLIP_NORM / BATCH_SIZE
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), norm)
        self.optimizer.step()


def train_pythae(vae: VAE, data: Tensor, epochs: int, seed: int) -> None:
    """Train the network in place."""
    config = BetaVAEConfig(input_dim=(data.shape[1],), latent_dim=N_FACTORS)
    model = BetaVAE(config, Encoder(vae), Decoder(vae))
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=BATCH_SIZE,
            num_epochs=epochs,
            learning_rate=LEARNING_RATE,
            scheduler_cls="CosineAnnealingLR",
            scheduler_params={"T_max": epochs},
            seed=seed,
            no_cuda=True,
        )
        dataset = BaseDataset(data, torch.zeros(len(data)))
        ClippingTrainer(model, dataset, training_config=settings, callbacks=[Warmup(model)]).train()


def pythae_loop(problem: Problem) -> Row:
    data, fresh = torch.tensor(problem.values), torch.tensor(problem.fresh)

    def train(seeds: Sequence[int], epochs: int = problem.epochs) -> list[VAE]:
        vaes = [make_vae(seed, data.shape[1]) for seed in seeds]
        for vae, seed in zip(vaes, seeds, strict=True):
            train_pythae(vae, data, epochs, seed)
        return vaes

    def prepare(seeds: Sequence[int]) -> dict[str, Any]:
        return use_fastest_threads(lambda: train(seeds[:1], min(TRIED_EPOCHS, problem.epochs)))

    return Row(prepare, train, lambda vaes: [vae_error(vae, fresh) for vae in vaes])
