"""`python -m deploy.cluster.create_bucket NAME`: makes a bucket, as the user whose keys are in AWS's variables.

A program of its own, because it runs inside the cluster's network.
"""

from __future__ import annotations

import sys

import boto3


def main() -> None:
    """Makes it, or finds it made."""
    client = boto3.client("s3")
    name = sys.argv[1]
    if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=name)


main()
