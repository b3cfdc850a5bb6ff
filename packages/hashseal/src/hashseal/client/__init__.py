"""Talk to the signing service: `wire` is pure, `http` sends, `signing` is the whole workflow."""
