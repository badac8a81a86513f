"""What git knows of the files: the commit that brought each finding, and what stood there before."""
