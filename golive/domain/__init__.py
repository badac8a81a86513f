"""The rules of go-live, pure: standard library only, no Django, no clock, no database.

`decision` says whether execution is allowed, `changes` is the table of changes, `effects` what each change does to the
two rows, `requests` and `reasons` read and clean the input, `checklist` aggregates checks, `chain` hashes and verifies
the events, `errors` defines every refusal with a stable code. The admin, API, CLI and middleware only call these.
"""
