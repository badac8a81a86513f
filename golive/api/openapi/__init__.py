"""The OpenAPI document, made from the tables that the service itself works by.

`schemas` says what answers and requests hold, `answers` every error with its codes, `operations` which path answers
what, `document` puts them together. Tests hold all that is served against it.
"""
