"""`python -m jaxvae`."""

from jaxvae.cli.main import console

console()
