"""From a dataset's files to examples, to the visits of each step, and to what is read at one. No model library in here.

`rules`     what was asked for
`dataset`   files → examples, or every problem at once; with `listing`, `picture_reading`, `caption_files`, `fetching`, `findings`
`buckets`   sizes of training pictures; `crops`: where they are cut
`views`     what one visit sees of a picture
`captions`  the words of one visit
`order`     which visits a step has
`images`    pixels, decoded in a limited child process; with `decoding_*`, `pixels`, `signatures`
"""
