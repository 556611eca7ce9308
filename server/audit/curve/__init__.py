"""What guards and codecs cost: AP after training against what the attacks bring back, a cell for each of them."""
