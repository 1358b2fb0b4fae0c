"""Policies that ship with the package, as TOML: :mod:`sdk.policy` reads them."""
