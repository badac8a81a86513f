"""The rules of go-live, as pure functions: standard library only, no Django, no clock, no database.

Start with `golive.domain.changes` (the table of changes), `golive.domain.effects` (what each does to the two rows) and
`golive.domain.decision` (whether execution is allowed). `golive.domain.requests` reads and cleans the input,
`golive.domain.checklist` aggregates checks, `golive.domain.chain` and `golive.domain.sense` verify the events, and
`golive.domain.errors` defines every refusal with its stable code. docs/explain/design.md explains the rules.
"""
