"""Changes of a lake that are no export: rows erased, columns rewritten."""
