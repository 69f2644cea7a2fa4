"""The files of the official release."""
