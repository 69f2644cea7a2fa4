"""What is installed beside the package: its locks, what is known against them, and a bill of materials."""
