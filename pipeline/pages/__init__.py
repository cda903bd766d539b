"""What all pages share: markup, pictures, strokes, style, and the frame that makes a page self-contained."""
