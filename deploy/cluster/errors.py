"""The one error of the local cluster."""


class ClusterError(Exception):
    """Something that the cluster needs is not so; the message says what, and the remedy."""
