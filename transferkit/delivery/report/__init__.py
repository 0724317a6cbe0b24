"""The report page, the card, and the sentences and figures that both show."""
