"""What a folder, an archive or a place in a store holds for training, whatever layout it has: decided once, in one place.

`layouts.read_input` is the decision: from names, sizes and the few small files that describe others it makes an `Input`, a list
of pictures with a caption file beside each, which is the only form that the service keeps and the trainer reads. The command and
the service share it; `local` and `archives` are what it looks at on a disk.
"""
