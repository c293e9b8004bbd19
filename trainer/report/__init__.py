"""What a person looks at when a job is done: the contact sheet (one picture) and the report (one HTML file).

Plain data in, bytes out: nothing here knows torch, the store or the training loop.
"""
