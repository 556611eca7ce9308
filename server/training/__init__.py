"""Training: recipes, losses, augmentation, and the one loop that runs them."""
