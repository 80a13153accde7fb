"""`python -m jaxvae`."""

from jaxvae.cli import console

console()
