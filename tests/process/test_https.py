"""The wire form of https, which plain http does not have, with a certificate of one's own."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from s3kv_flow._server import LocalServer, free_ports

SCRIPT = """
import json, sys
import s3kv_flow as s3kv

kv = s3kv.S3KV()
kv.add("key", {"x": list(range(1000))}, tags={"a b": "c d"})
kv.place_retention_lock("key", 0.0001)
print(json.dumps([kv.get("key")["x"][-1], kv.find_keys_by_tag_value("a b", "c d"),
                  kv.get_lock("key").mode]))
"""


class HTTPSServer(LocalServer):
    """SeaweedFS with a certificate."""

    def secure(self) -> Path:
        """Make a certificate of our own authority for 127.0.0.1, and give the authority's file."""
        now = datetime.datetime.now(datetime.timezone.utc)
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
        names = [
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("ca", "s3")
        ]
        host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        self.folder.mkdir(parents=True)
        for number, file in enumerate(("ca", "s3")):
            builder = (
                x509.CertificateBuilder()
                .subject_name(names[number])
                .issuer_name(names[0])
                .public_key(keys[number].public_key())
                .serial_number(number + 1)
                .not_valid_before(now - datetime.timedelta(days=1))
                .not_valid_after(now + datetime.timedelta(days=1))
                .add_extension(x509.BasicConstraints(number == 0, None), critical=True)
            )
            if number:
                builder = builder.add_extension(host, critical=False)
            certificate = builder.sign(keys[0], hashes.SHA256())
            pem = serialization.Encoding.PEM
            (self.folder / f"{file}.pem").write_bytes(certificate.public_bytes(pem))
            (self.folder / f"{file}.key").write_bytes(
                keys[number].private_bytes(
                    pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
        self.https_port = free_ports()
        return self.folder.resolve() / "ca.pem"

    def _arguments(self, port: int) -> list[str]:
        folder = self.folder.resolve()
        return [
            *super()._arguments(port),
            f"-s3.port.https={self.https_port}",
            f"-s3.cert.file={folder / 's3.pem'}",
            f"-s3.key.file={folder / 's3.key'}",
        ]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    server = HTTPSServer(tmp_path / "server")
    authority = str(server.secure())
    server.start()
    server.create_bucket("bucket")
    yield {
        **os.environ,
        **server.environment("bucket"),
        "S3_ENDPOINT_URL": f"https://127.0.0.1:{server.https_port}",
        "AWS_CA_BUNDLE": authority,  # read by boto3
        "SSL_CERT_FILE": authority,  # read by obstore
    }
    server.stop()


def test_keys_tags_and_locks_over_https(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [999, ["key"], "GOVERNANCE"]
    doctor = subprocess.run(
        [sys.executable, "-m", "s3kv_flow", "doctor", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found = {finding["check"]: finding["status"] for finding in json.loads(doctor.stdout)}
    assert (doctor.returncode, found["bodies"], found["compare-and-swap"]) == (0, "ok", "ok")
