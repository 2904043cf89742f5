"""The book as a program: what `make` asks for, and which files a run has."""
