"""What fitted members and classical models are worth: consensus, scores, tests, tables."""
