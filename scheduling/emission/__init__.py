"""A schedule becomes a program: the rows of its instances as instructions with addresses."""
