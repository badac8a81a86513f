"""What the tests of several rooms share: servers, databases, faults, people who act, patience."""
