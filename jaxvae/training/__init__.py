"""Training of members and ensembles."""
