"""The notebook's loop in PyTorch, and all members batched by hand.

The loop computes what the notebook's does, line for line, and so do its names. The batched version
is what an expert would write without a compiler: the members' weights stacked, one `baddbmm` a
layer, members and features together as the channels of PyTorch's own batch norm, gradients of the
sum of the losses (members do not touch), clipping by member, one fused Adam over the stacks. Both
use as many threads as turn out to be fastest.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from measure import n_cores
from notebook_problem import (
    BATCH_SIZE,
    CLIP_NORM,
    LEARNING_RATE,
    N_FACTORS,
    SLOPE,
    WIDTHS,
    Problem,
    Row,
    beta_at,
)
from torch import Tensor

TRIED_EPOCHS = 10
NORM_DECAY, NORM_EPSILON = 0.1, 1e-5


class VAE(nn.Module):
    """The notebook's network: encoder, mean and log-variance, decoder."""

    def __init__(self, n_assets: int) -> None:
        super().__init__()
        wide, narrow = WIDTHS
        self.encoder = nn.Sequential(
            nn.Linear(n_assets, wide),
            nn.BatchNorm1d(wide),
            nn.LeakyReLU(SLOPE),
            nn.Linear(wide, narrow),
            nn.BatchNorm1d(narrow),
            nn.LeakyReLU(SLOPE),
        )
        self.fc_mu, self.fc_logvar = nn.Linear(narrow, N_FACTORS), nn.Linear(narrow, N_FACTORS)
        self.decoder = nn.Sequential(
            nn.Linear(N_FACTORS, narrow),
            nn.LeakyReLU(SLOPE),
            nn.Linear(narrow, wide),
            nn.BatchNorm1d(wide),
            nn.LeakyReLU(SLOPE),
            nn.Linear(wide, n_assets),
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(x)
        return self.fc_mu(h), self.fc_logvar(h)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, logvar = self.encode(x)
        std = torch.exp(0.5 * logvar)
        z = mu + torch.randn_like(std) * std
        return self.decoder(z), mu, logvar


def loss_terms(x: Tensor, x_recon: Tensor, mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    """Summed squared error, and summed KL divergence in nats."""
    kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return F.mse_loss(x_recon, x, reduction="sum"), kl


def make_vae(seed: int, n_assets: int) -> VAE:
    torch.manual_seed(seed)
    return VAE(n_assets)


def loop_step(vae: VAE, optimizer: Any, x: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    optimizer.zero_grad()
    x_recon, mu, logvar = vae(x)
    recon, kl = loss_terms(x, x_recon, mu, logvar)
    loss = recon + beta * kl
    loss.backward()
    nn.utils.clip_grad_norm_(vae.parameters(), CLIP_NORM)
    optimizer.step()
    return loss, recon, kl


def train_loop(vae: VAE, data: Tensor, epochs: int) -> list[list[float]]:
    """The notebook's `train_vae`; mean batch sums of total, reconstruction and KL by epoch."""
    optimizer = torch.optim.Adam(vae.parameters(), lr=LEARNING_RATE)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    losses = []
    for epoch in range(epochs):
        vae.train()
        totals, n_batches = [0.0, 0.0, 0.0], 0
        indices = torch.randperm(len(data))
        for i in range(0, len(data), BATCH_SIZE):
            batch = data[indices[i : i + BATCH_SIZE]]
            terms = loop_step(vae, optimizer, batch, beta_at(epoch, epochs))
            totals = [total + term.item() for total, term in zip(totals, terms, strict=True)]
            n_batches += 1
        scheduler.step()
        losses.append([total / n_batches for total in totals])
    return losses


class StackedVAE:
    """Many of the notebook's networks; member first, features before rows.

    weights, biases: a layer's of all members, (member, output, input) and (member, output, 1).
    scales, shifts: a batch norm's, (member · feature); means, variances: its running statistics.
    """

    LINEAR = ("encoder.0", "encoder.3", "fc_mu", "fc_logvar", "decoder.0", "decoder.2", "decoder.5")
    NORM = ("encoder.1", "encoder.4", "decoder.3")

    def __init__(self, members: Sequence[VAE]) -> None:
        states = [vae.state_dict() for vae in members]

        def stack(names: Sequence[str], part: str) -> list[Tensor]:
            return [torch.stack([s[f"{name}.{part}"] for s in states]) for name in names]

        self.n_members = len(states)
        self.weights = stack(self.LINEAR, "weight")
        self.biases = [bias[:, :, None] for bias in stack(self.LINEAR, "bias")]
        self.scales = [part.flatten() for part in stack(self.NORM, "weight")]
        self.shifts = [part.flatten() for part in stack(self.NORM, "bias")]
        self.means = [part.flatten() for part in stack(self.NORM, "running_mean")]
        self.variances = [part.flatten() for part in stack(self.NORM, "running_var")]
        for parameter in self.parameters():
            parameter.requires_grad_()

    def parameters(self) -> list[Tensor]:
        return [*self.weights, *self.biases, *self.scales, *self.shifts]

    def _linear(self, layer: int, h: Tensor) -> Tensor:
        return torch.baddbmm(self.biases[layer], self.weights[layer], h)

    def _hidden(self, layer: int, norm: int, h: Tensor, training: bool) -> Tensor:
        h = self._linear(layer, h)
        channels = h.reshape(1, -1, h.shape[-1])
        statistics = (self.means[norm], self.variances[norm])
        affine = (self.scales[norm], self.shifts[norm])
        normed = F.batch_norm(channels, *statistics, *affine, training, NORM_DECAY, NORM_EPSILON)
        return F.leaky_relu(normed.view(h.shape), SLOPE)

    def encode(self, x: Tensor, training: bool) -> tuple[Tensor, Tensor]:
        h = self._hidden(1, 1, self._hidden(0, 0, x, training), training)
        return self._linear(2, h), self._linear(3, h)

    def decode(self, z: Tensor, training: bool) -> Tensor:
        h = F.leaky_relu(self._linear(4, z), SLOPE)
        return self._linear(6, self._hidden(5, 2, h, training))

    def loss(self, x: Tensor, beta: float) -> Tensor:
        """The sum of the members' losses on batches x of shape (member, asset, row)."""
        mu, logvar = self.encode(x, True)
        std = torch.exp(0.5 * logvar)
        noise = torch.randn(mu.shape[0], mu.shape[2], mu.shape[1]).transpose(1, 2)
        recon, kl = loss_terms(x, self.decode(mu + noise * std, True), mu, logvar)
        return recon + beta * kl


def stacked_step(vaes: StackedVAE, optimizer: Any, x: Tensor, beta: float) -> Tensor:
    optimizer.zero_grad()
    loss = vaes.loss(x, beta)
    loss.backward()
    clip_by_member(vaes)
    optimizer.step()
    return loss


def clip_by_member(vaes: StackedVAE) -> None:
    """`clip_grad_norm_` for every member by itself."""
    gradients = [p.grad.view(vaes.n_members, -1) for p in vaes.parameters()]
    norms = torch.stack([torch.linalg.vector_norm(g, dim=1) for g in gradients]).norm(dim=0)
    factor = (CLIP_NORM / (norms + 1e-6)).clamp(max=1.0)[:, None]
    for gradient in gradients:
        gradient.mul_(factor)


def train_stacked(vaes: StackedVAE, data: Tensor, epochs: int) -> None:
    """The notebook's training of every member, each with its own shuffles and noise."""
    optimizer = torch.optim.Adam(vaes.parameters(), lr=LEARNING_RATE, fused=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    for epoch in range(epochs):
        indices = torch.rand(vaes.n_members, len(data)).argsort(dim=1)
        for i in range(0, len(data), BATCH_SIZE):
            x = data[indices[:, i : i + BATCH_SIZE]].transpose(1, 2)
            stacked_step(vaes, optimizer, x, beta_at(epoch, epochs))
        scheduler.step()


def notebook_loop(problem: Problem) -> Row:
    data, fresh = torch.tensor(problem.values), torch.tensor(problem.fresh)

    def train(seeds: Sequence[int], epochs: int = problem.epochs) -> list[VAE]:
        vaes = []
        for seed in seeds:
            vaes.append(make_vae(seed, data.shape[1]))
            train_loop(vaes[-1], data, epochs)
        return vaes

    def prepare(seeds: Sequence[int]) -> dict[str, Any]:
        return use_fastest_threads(lambda: train(seeds[:1], min(TRIED_EPOCHS, problem.epochs)))

    return Row(prepare, train, lambda vaes: [vae_error(vae, fresh) for vae in vaes])


def torch_batched(problem: Problem) -> Row:
    data, fresh = torch.tensor(problem.values), torch.tensor(problem.fresh)

    def train(seeds: Sequence[int], epochs: int = problem.epochs) -> StackedVAE:
        vaes = StackedVAE([make_vae(seed, data.shape[1]) for seed in seeds])
        train_stacked(vaes, data, epochs)
        return vaes

    def prepare(seeds: Sequence[int]) -> dict[str, Any]:
        return use_fastest_threads(lambda: train(seeds, min(TRIED_EPOCHS, problem.epochs)))

    return Row(prepare, train, lambda vaes: stacked_errors(vaes, fresh))


@torch.no_grad()
def vae_error(vae: VAE, x: Tensor) -> float:
    vae.eval()
    return float((vae.decoder(vae.encode(x)[0]) - x).square().mean())


@torch.no_grad()
def stacked_errors(vaes: StackedVAE, x: Tensor, rows_at_once: int = 1000) -> list[float]:
    sums = torch.zeros(vaes.n_members)
    for part in x.split(rows_at_once):
        columns = part.T.expand(vaes.n_members, -1, -1)
        rebuilt = vaes.decode(vaes.encode(columns, False)[0], False)
        sums += (rebuilt - columns).square().sum(dim=(1, 2))
    return (sums / x.numel()).tolist()


def use_fastest_threads(run: Callable[[], Any]) -> dict[str, Any]:
    """Run with one thread and with one a core, twice each; go on with the faster number."""
    seconds: dict[int, float] = {}
    for n_threads in 2 * sorted({1, n_cores()}):
        torch.set_num_threads(n_threads)
        begun = time.perf_counter()
        run()
        taken = time.perf_counter() - begun
        seconds[n_threads] = min(taken, seconds.get(n_threads, taken))
    fastest = min(seconds, key=seconds.__getitem__)
    torch.set_num_threads(fastest)
    tried = {str(n_threads): round(taken, 4) for n_threads, taken in seconds.items()}
    return {"threads": fastest, "seconds_by_threads_tried": tried, "precision": _precision()}


def _precision() -> str:
    return f"float32, products {torch.get_float32_matmul_precision()}"
