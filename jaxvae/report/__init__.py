"""Pages and figures, drawn from tables and arrays."""
