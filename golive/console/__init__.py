"""The operator console: what people see and press. Programs are answered by `golive.api`."""
