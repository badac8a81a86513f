"""Generate the OpenAPI document from the tables that the service itself uses.

`schemas` defines requests and responses, `answers` all errors with their codes, `operations` all paths; `document`
combines them. Tests check every served response against it.
"""
