"""Make `manage.py migrate` safe to run on every deploy: the lock, the executor, the checks before and after."""
