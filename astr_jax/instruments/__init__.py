"""Looking into the model: what it costs, where it looks, how evenly."""
