"""Networks of other libraries, as data for the contract of insertion."""
