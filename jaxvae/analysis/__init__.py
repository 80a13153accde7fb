"""Arrays in, numbers out: matching, metrics and risk, whatever model made the arrays."""
