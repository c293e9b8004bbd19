"""Client certificates. gRPC has verified them against the operator's authority before any call is seen."""

from __future__ import annotations

from cryptography import x509

from service.auth import identity
from service.auth.identity import Identity, Way

_SPIFFE = "spiffe://"
_LONGEST_SUBJECT = 2048  # SPIFFE ID section 2.4


def certificate_identity(pem: bytes) -> Identity:
    """Whom a verified certificate names: by its SPIFFE ID, else by its first DNS name, else by its common name.

    Each kind is spelt so that no two of them are the same: `spiffe://…`, `dns:…`, `cn:…`. A certificate with several URIs is
    no SPIFFE identity (X.509-SVID section 2) and is refused. Raises NotIdentified.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        subject = _subject(certificate)
    except ValueError:
        raise identity.refused("certificate") from None
    if not subject.isprintable() or len(subject) > _LONGEST_SUBJECT:
        raise identity.refused("certificate's subject")
    return Identity(Way.CERTIFICATE, subject, certificate.not_valid_after_utc.timestamp())


def _subject(certificate: x509.Certificate) -> str:
    """Raises ValueError where the certificate names nobody."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if uris:
        if len(uris) > 1 or not uris[0].startswith(_SPIFFE):
            raise ValueError("the certificate's URI is no SPIFFE ID")
        return uris[0]
    hosts = names.get_values_for_type(x509.DNSName)
    if hosts:
        return f"dns:{hosts[0]}"
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if len(common) != 1 or not common[0].value:
        raise ValueError("the certificate names nobody")
    return f"cn:{common[0].value!s}"
