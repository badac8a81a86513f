"""The prompts and output of `manage.py golive`."""
