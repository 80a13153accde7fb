"""A study from panel to results, and what can be asked of it."""
