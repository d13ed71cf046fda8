"""What a table of the lake is made of."""
