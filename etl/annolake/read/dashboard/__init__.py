"""The dashboard: what a lake tells at a glance, as one page (docs/dashboard.md).

`figures`, `people` and `health` say what is to be seen, in `parts`; `charts` draws, `page` writes the HTML.
"""
