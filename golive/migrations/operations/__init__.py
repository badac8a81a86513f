"""Operations that Django does not have, frozen with the migrations that use them."""
