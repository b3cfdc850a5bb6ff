"""Pages for people: rendered here with Jinja2, without a build step, and whole without JavaScript.

To add a page: write `routes(parts)` in a module of this package as `dashboard` does, begin each
handler with `visitor_of` (who asks, and whether they may), answer with `page` and a template, take
what a form sends with `form_of`, and name the module in `site`.
"""
