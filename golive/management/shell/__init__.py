"""What `manage.py golive` asks and prints."""
