"""What a study means for those who hold its assets: risk, factor portfolios, value at risk."""
