"""The notebook's network and one step of its training loop, in PyTorch, from given weights."""

import numpy as np


def network(torch, n_assets, n_factors=5, widths=(64, 32)):
    """The notebook's layers by the names that jaxvae's parameters have."""
    nn, (wide, narrow) = torch.nn, widths
    return nn.ModuleDict(
        {
            "encoder_dense_0": nn.Linear(n_assets, wide),
            "encoder_norm_0": nn.BatchNorm1d(wide),
            "encoder_dense_1": nn.Linear(wide, narrow),
            "encoder_norm_1": nn.BatchNorm1d(narrow),
            "mean": nn.Linear(narrow, n_factors),
            "log_variance": nn.Linear(narrow, n_factors),
            "decoder_dense_0": nn.Linear(n_factors, narrow),
            "decoder_dense_1": nn.Linear(narrow, wide),
            "decoder_norm_1": nn.BatchNorm1d(wide),
            "decoder_mean": nn.Linear(wide, n_assets),
        }
    )


def forward(torch, net, x):
    leaky = torch.nn.functional.leaky_relu
    h = x
    for layer in (0, 1):
        h = leaky(net[f"encoder_norm_{layer}"](net[f"encoder_dense_{layer}"](h)), 0.2)
    mean, log_variance = net["mean"](h), net["log_variance"](h)
    h = leaky(net["decoder_dense_0"](mean), 0.2)
    h = leaky(net["decoder_norm_1"](net["decoder_dense_1"](h)), 0.2)
    return net["decoder_mean"](h), mean, log_variance


def layers(variables):
    """jaxvae's parameters and statistics by the names of `network`."""
    encoder, decoder = variables.parameters["encoder"], variables.parameters["decoder"]
    named = {f"encoder_{name}": part for name, part in encoder["hidden"].items()}
    named |= {f"decoder_{name}": part for name, part in decoder["hidden"].items()}
    named |= {"mean": encoder["mean"], "log_variance": encoder["log_variance"]}
    named |= {"decoder_mean": decoder["mean"]}
    statistics = {}
    for side in ("encoder", "decoder"):
        for name, part in variables.statistics[side]["hidden"].items():
            statistics[f"{side}_{name}"] = part
    return named, statistics


def one_step(torch, variables, values, beta):
    """The variables after one step of the notebook's loop, and its total, squared error and KL."""
    net = network(torch, values.shape[1])
    named, _ = layers(variables)
    with torch.no_grad():
        for name, part in named.items():
            weight = part["kernel"].T if "kernel" in part else part["scale"]
            net[name].weight.copy_(torch.tensor(np.array(weight)))
            net[name].bias.copy_(torch.tensor(np.array(part["bias"])))
    x = torch.tensor(values, dtype=torch.float32)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    rebuilt, mean, log_variance = forward(torch, net, x)
    error = torch.nn.functional.mse_loss(rebuilt, x, reduction="sum")
    kl = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
    (error + beta * kl).backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
    return _back(net, variables), [loss.item() for loss in (error + beta * kl, error, kl)]


def _back(net, variables):
    import jax

    moved = jax.tree.map(np.array, variables)
    named, statistics = layers(moved)
    for name, part in named.items():
        weight = net[name].weight.detach().numpy()
        part["kernel" if "kernel" in part else "scale"] = weight.T if "kernel" in part else weight
        part["bias"] = net[name].bias.detach().numpy()
    for name, part in statistics.items():
        part["mean"] = net[name].running_mean.numpy()
        part["variance"] = net[name].running_var.numpy()
    return moved
