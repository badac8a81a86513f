"""Custom migration operations, frozen together with the migrations that use them."""
