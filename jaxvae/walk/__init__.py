"""Walk forward: windows, members, tracked factors, results."""
