"""Arrays in, numbers out: baselines, matching and metrics, whatever model made the arrays."""
