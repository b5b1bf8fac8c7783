"""The reference pages, one module a sort of page; `docs/reference.py` writes them."""
