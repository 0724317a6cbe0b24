"""What leaves a run: predictions, exports, the card, the report."""
