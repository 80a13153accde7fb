"""From a panel and settings to fitted members: presets, preparation, training, refits."""
