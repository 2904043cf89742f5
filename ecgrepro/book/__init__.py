"""The book as a thing that is made: what `make` accepts, who is at work, and in which environment."""
