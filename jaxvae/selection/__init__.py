"""What a study is of: its model, its number of factors, and how many factors are of use."""
