"""The rules of go-live, pure: standard library only, no Django, no clock, no database.

`decision` says whether execution is allowed, `changes` is the table of changes and what each of them does to the
two rows, `reasons` cleans or refuses what people write, `checklist` aggregates checks, `chain` hashes and verifies
the events, `errors` names every refusal with a stable code. The admin, API, CLI and middleware only call these.
"""
