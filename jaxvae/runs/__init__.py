"""What survives an interrupted run: checkpoints, folders, processes, signals."""
