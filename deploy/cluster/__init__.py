"""A whole cluster on one Linux machine: Kubernetes with two nodes, and two S3 servers that differ."""
