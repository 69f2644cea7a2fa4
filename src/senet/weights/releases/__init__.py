"""What other libraries' files of weights hold, one table a library."""
