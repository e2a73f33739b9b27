"""Text: from a file, a web page or standard input to clean plain text, and where documents come from.

`sources` plans what is read (on the core), `fetch` brings a URL, `read` turns bytes of any supported kind
(text, markdown, html, pdf, docx) into the one text that every later offset counts in. Documents are
untrusted: sizes, depths, times and encodings are bounded here, and what a page hides from people (zero-width
and bidirectional controls, hidden elements) does not reach a model.
"""
