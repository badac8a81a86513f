"""An app that does harm to the process it is installed in, as the environment variable SABOTAGE says."""
