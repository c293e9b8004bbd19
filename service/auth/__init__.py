"""Who calls, and what they may do.

settings        what the operator configures
bearer          the token of a call, and what can be seen of it before it is checked
token_review    a service account's token, checked by its API server
oidc, key_sets  an identity provider's token, checked with its published keys
mtls            a client certificate, checked by gRPC against the operator's authority
loopback        nothing: this machine alone is served
tenancy         from an identity to its tenant and its rights
authenticator   the ways together: a call in, its Caller out
exposure        what must hold before an address is served
tls             the server's certificates
"""
