"""The search for settings: what to try next, trained on shared features, journalled, judged once."""
