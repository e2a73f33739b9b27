"""ψ, the soul: what happened, what was learnt, what decisions rest on. Plain Markdown files."""
