"""What degradations do to grey planes: one module a cause, functions `(images, value, seeds) -> images`.

`images` is float32 [n, 1, h, w] in [0, 1], one seed a image. `pipeline.imaging.degrade` names the functions,
checks what they get and keeps what they give in range.
"""
