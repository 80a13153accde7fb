"""What fitted members are asked: likelihoods, means, draws, forecasts."""
