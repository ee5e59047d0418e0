"""A Redis as a careful operator runs it: reached by TLS only, with a user of an ACL and an odd password.

TLS ends in front of it, since not every redis-server is built with it; clients cannot tell the difference.
"""

import asyncio
import contextlib
import datetime
import hashlib
import ipaddress
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.redis_server import RedisServer

# Every character that means something in a URL, a shell, a configuration file or a template.
PASSWORD = "s3$me:p@ss/w%rd?&+#é {x}"
USER = "jobs"
CHUNK = 65_536
PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
COMMANDS = ("+@all", "-@admin", "-flushall", "-flushdb")


def rights(namespace: str) -> list[str]:
    """Give what docs/deployment.md advises: all that works with data, nothing on the server, only names of ours."""
    advice = re.search(r"```\n(~pointsman.+?)```", PAGE.read_text(), re.DOTALL)
    assert advice is not None
    assert " ".join(COMMANDS) in PAGE.read_text()
    return [*advice[1].replace("pointsman", namespace).split(), *COMMANDS]


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[int]:
    """Run one, whose authority is `folder/ca.pem`, and give its port."""
    certify(folder)
    with RedisServer.start() as redis:
        with redis.client() as admin:
            password = hashlib.sha256(PASSWORD.encode()).hexdigest()
            admin.execute_command("ACL", "SETUSER", USER, "on", f"#{password}", *rights("pointsman"))
            admin.execute_command("ACL", "SETUSER", "default", "off")
        with _encrypted(redis.port, folder) as port:
            yield port


def url(port: int, authority: Path | None, *, password: str = PASSWORD, scheme: str = "rediss") -> str:
    """Give a URL of such a server."""
    query = f"?ssl_ca_certs={authority}" if authority else ""
    return f"{scheme}://{USER}:{quote(password, safe='')}@127.0.0.1:{port}/0{query}"


def certify(folder: Path) -> None:
    """Make an authority, `ca.pem`, and a certificate for this machine that it signed, `server.pem` with its key."""
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "server")}
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an authority of our own")])
    now = datetime.datetime.now(datetime.UTC)
    for name, key in keys.items():
        is_ca = name == "ca"
        subject = issuer if is_ca else x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys["ca"].public_key()), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(_usage(signs=is_ca), critical=True)
            .sign(keys["ca"], hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        keys["server"].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    no = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(digital_signature=True, key_cert_sign=signs, crl_sign=signs, **no)


@contextlib.contextmanager
def _encrypted(plain_port: int, folder: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    writers: list[asyncio.StreamWriter] = []

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled at the end, when no receiver is left.
        with contextlib.suppress(asyncio.CancelledError, OSError):
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", plain_port)
            writers.extend((writer, inner_writer))
            await asyncio.gather(_pass(reader, inner_writer), _pass(inner_reader, writer))

    async def close(server: asyncio.Server) -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.1)

    serving = asyncio.start_server(connect, "127.0.0.1", 0, ssl=context)
    server = asyncio.run_coroutine_threadsafe(serving, loop).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(close(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError), contextlib.closing(writer):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
