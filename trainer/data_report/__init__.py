"""What there is to say of a dataset before it is trained on: measures, findings, suggestions; as table, JSON and one HTML file.

`facts`        plain data: what was measured, of each picture and of all
`sharpness`, `lightness`, `likeness`, `frames`, `marks`   measures of pixels; NumPy only
`words`        measures of captions; pure
`looking`      pixels of each picture → its measures, through the decoding child and the cache
`judging`      what the base model says of pictures and captions; needs torch
`budget`       how much of that may be done; pure
`limits`, `suggestions`   measures → what to add, drop, crop or caption; pure
`report`       all of it in one call; `document`, `table`, `as_json` show it
"""
