"""What attackers make of access tokens, as data: the catalogue of jwt_tool rebuilt, and what our own format invites. Each entry starts from a good token.

Most are signed with the right key, so that nothing but the check meant can refuse them.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


HEADER: dict[str, object] = {"alg": "HS256", "typ": "at+jwt"}


def base64url(octets: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def compact_json(value: object) -> bytes:
    """JSON as tokens hold it."""
    return json.dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True)
class TokenForger:
    """Somebody who holds the node's key and a good token's claims."""

    secret: bytes
    claims: dict[str, object]

    @property
    def now(self) -> int:
        """When the good token was made."""
        return int(str(self.claims["iat"]))

    def sign_token(self, header: bytes, payload: bytes, key: bytes | None = None) -> str:
        """Whatever bytes, signed as ours are."""
        said = f"{base64url(header)}.{base64url(payload)}"
        return f"{said}.{base64url(hmac.digest(self.secret if key is None else key, said.encode(), 'sha256'))}"

    def good_token(self) -> str:
        """The token from which all start."""
        return self.sign_token(compact_json(HEADER), compact_json(self.claims))

    def with_header(self, **said: object) -> str:
        """The good token with more or other things in its header."""
        return self.sign_token(compact_json(HEADER | said), compact_json(self.claims))

    def with_claims(self, **claims: object) -> str:
        """The good token with more or other claims."""
        return self.sign_token(compact_json(HEADER), compact_json(self.claims | claims))

    def without_claim(self, claim: str) -> str:
        """The good token without a claim."""
        return self.sign_token(
            compact_json(HEADER), compact_json({name: each for name, each in self.claims.items() if name != claim})
        )

    def with_payload(self, payload: bytes) -> str:
        """Our header over any payload."""
        return self.sign_token(compact_json(HEADER), payload)

    def unsigned_token(self, alg: object, signature: str = "") -> str:
        """An algorithm that signs nothing."""
        return f"{base64url(compact_json(HEADER | {'alg': alg}))}.{base64url(compact_json(self.claims))}.{signature}"

    def token_parts(self) -> list[str]:
        """The good token's three."""
        return self.good_token().split(".")


def with_stray_bits(forger: TokenForger) -> str:
    """A payload whose last character has bits that mean nothing, under a signature that is right."""
    payload = compact_json(forger.claims)
    while len(payload) % 3 == 0:
        payload += b" "
    segment = base64url(payload)
    said = f"{base64url(compact_json(HEADER))}.{segment[:-1]}{chr(ord(segment[-1]) + 1)}"
    return f"{said}.{base64url(hmac.digest(forger.secret, said.encode(), 'sha256'))}"


Forgery = Callable[[TokenForger], str]
_RSA = generate_private_key(65537, 2048)
_PUBLIC = _RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
_PRIVATE = _RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
_SPELLINGS = ("none", "None", "NONE", "nOnE", "noNE", " none", "none ", "", "null")
_HIDDEN = {
    "path": "../../../../dev/null",
    "SQL": "x' UNION SELECT 'key';--",
    "null byte": "k1\x00",
    "command": "key; sleep 5 |",
    "URL": "https://keys.example/k",
    "empty": "",
    "JWT_SECRET": "JWT_SECRET",
    "number": 1,
    "list": ["k1"],
    "null": None,
}

HEADERS: dict[str, Forgery] = (
    {f"alg {word!r}": (lambda f, word=word: f.unsigned_token(word)) for word in _SPELLINGS}
    | {
        f"alg {word!r}, our signature": (lambda f, word=word: f.unsigned_token(word, f.token_parts()[2]))
        for word in _SPELLINGS[:3]
    }
    | {f"kid {name}": (lambda f, kid=kid: f.with_header(kid=kid)) for name, kid in _HIDDEN.items()}
    | {
        "kid path, signed with an empty key": lambda f: f.sign_token(
            compact_json(HEADER | {"kid": "/dev/null"}), compact_json(f.claims), b""
        ),
        "alg null": lambda f: f.unsigned_token(None),
        "alg list": lambda f: f.with_header(alg=["HS256"]),
        "alg number": lambda f: f.with_header(alg=256),
        "alg lower case": lambda f: f.with_header(alg="hs256"),
        "alg absent": lambda f: f.sign_token(compact_json({"typ": "at+jwt"}), compact_json(f.claims)),
        "alg twice": lambda f: f.sign_token(b'{"typ":"at+jwt","alg":"none","alg":"HS256"}', compact_json(f.claims)),
        "alg HS384": lambda f: jwt.encode(f.claims, f.secret * 2, "HS384", {"typ": "at+jwt"}),
        "alg HS512": lambda f: jwt.encode(f.claims, f.secret * 2, "HS512", {"typ": "at+jwt"}),
        "alg RS256, own key": lambda f: jwt.encode(f.claims, _PRIVATE, "RS256", {"typ": "at+jwt"}),
        "public key as secret": lambda f: f.sign_token(compact_json(HEADER), compact_json(f.claims), _PUBLIC),
        "public key as secret, alg RS256": lambda f: f.sign_token(
            compact_json(HEADER | {"alg": "RS256"}), compact_json(f.claims), _PUBLIC
        ),
        "alg ES256 with a zero signature": lambda f: f.unsigned_token("ES256", base64url(bytes(64))),
        "alg ES256 with r = s = 0 in DER": lambda f: f.unsigned_token(
            "ES256", base64url(bytes.fromhex("3006020100020100"))
        ),
        "typ JWT": lambda f: f.with_header(typ="JWT"),
        "typ in capitals": lambda f: f.with_header(typ="AT+JWT"),
        "typ with prefix": lambda f: f.with_header(typ="application/at+jwt"),
        "typ absent": lambda f: f.sign_token(compact_json({"alg": "HS256"}), compact_json(f.claims)),
        "cty": lambda f: f.with_header(cty="JWT"),
        "jku": lambda f: f.with_header(jku="https://keys.example/jwks"),
        "jwk": lambda f: f.with_header(jwk={"kty": "oct", "k": base64url(f.secret)}),
        "jwk, signed with it": lambda f: f.sign_token(
            compact_json(HEADER | {"jwk": {"kty": "oct", "k": "QUFB"}}), compact_json(f.claims), b"AAA"
        ),
        "x5u": lambda f: f.with_header(x5u="https://keys.example/cert"),
        "x5c": lambda f: f.with_header(x5c=["MIIB"]),
        "x5t": lambda f: f.with_header(**{"x5t#S256": "AA"}),
        "crit": lambda f: f.with_header(crit=["exp"]),
        "crit with b64 false": lambda f: f.with_header(crit=["b64"], b64=False),
        "b64 false": lambda f: f.with_header(b64=False),
        "zip": lambda f: f.with_header(zip="DEF"),
        "an unknown field": lambda f: f.with_header(iss="vyry"),
        "header spaced": lambda f: f.sign_token(json.dumps(HEADER).encode(), compact_json(f.claims)),
        "header turned round": lambda f: f.sign_token(b'{"typ":"at+jwt","alg":"HS256"}', compact_json(f.claims)),
        "header escaped": lambda f: f.sign_token(rb'{"typ":"at+jwt","alg":"\u0048S256"}', compact_json(f.claims)),
        "header is a list": lambda f: f.sign_token(b"[1]", compact_json(f.claims)),
        "header is null": lambda f: f.sign_token(b"null", compact_json(f.claims)),
        "header is empty": lambda f: f.sign_token(b"{}", compact_json(f.claims)),
        "header with a byte-order mark": lambda f: f.sign_token(
            b"\xef\xbb\xbf" + compact_json(HEADER), compact_json(f.claims)
        ),
        "header in UTF-16": lambda f: f.sign_token(
            compact_json(HEADER).decode().encode("utf-16"), compact_json(f.claims)
        ),
    }
)
KEYS: dict[str, Forgery] = {
    "another key": lambda f: f.sign_token(
        compact_json(HEADER), compact_json(f.claims), b"another secret of 32 bytes or more"
    ),
    "an empty key": lambda f: f.sign_token(compact_json(HEADER), compact_json(f.claims), b""),
    "a zero key": lambda f: f.sign_token(compact_json(HEADER), compact_json(f.claims), bytes(32)),
    "a weak key": lambda f: f.sign_token(compact_json(HEADER), compact_json(f.claims), b"secret"),
    "a key in hex": lambda f: f.sign_token(compact_json(HEADER), compact_json(f.claims), f.secret.hex().encode()),
    "a derived key": lambda f: f.sign_token(
        compact_json(HEADER), compact_json(f.claims), hmac.digest(f.secret, b"vyry sms webhook 1", "sha256")
    ),
    "a bare hash as signature": lambda f: ".".join(
        [*f.token_parts()[:2], base64url(hashlib.sha256(f.secret).digest())]
    ),
    "no signature": lambda f: f.good_token().rpartition(".")[0] + ".",
    "no third part": lambda f: f.good_token().rpartition(".")[0],
    "cut signature": lambda f: f.good_token()[:-2],
    "signature of zeros": lambda f: ".".join([*f.token_parts()[:2], base64url(bytes(32))]),
    "claims of another token": lambda f: ".".join(
        [f.token_parts()[0], f.with_claims(gen=2).split(".")[1], f.token_parts()[2]]
    ),
}
_WRONG: dict[str, list[object]] = {
    "iss": ["other", "VYRY", "", None, 1, ["vyry"], True, "vyry\x00"],
    "aud": ["other", "", None, 1, ["vyry-api"], ["vyry-api", "other"], {"vyry-api": 1}],
    "sub": [
        "root",
        "",
        None,
        1,
        True,
        [],
        {},
        "*",
        "' OR 1=1--",
        "{00000000-0000-0000-0000-000000000001}",
        "0" * 31 + "1",
    ],
    "sid": ["1", "", None, 2, True, [], {}, "urn:uuid:00000000-0000-0000-0000-000000000002", str(UUID(int=10)).upper()],
    "gen": ["1", None, True, 1.0, 0, -1, 2**31, 2**63, 2**64, [], {}],
    "jti": [None, 1, True, [], {}],
    "exp": [None, "9999999999", True, 0, -1, 10**30, 1e300, [], {}, 2**63, 253_402_300_800],
    "iat": [None, "0", True, -1, 10**30, 1.5, [], {}],
}
CLAIMS: dict[str, Forgery] = (
    {
        f"{claim} {value!r}": (lambda f, claim=claim, value=value: f.with_claims(**{claim: value}))
        for claim, values in _WRONG.items()
        for value in values
    }
    | {f"without {claim}": (lambda f, claim=claim: f.without_claim(claim)) for claim in _WRONG}
    | {
        f"{name} for exp": (
            lambda f, name=name: f.with_payload(
                compact_json(f.claims | {"exp": 0}).replace(b'"exp":0', f'"exp":{name}'.encode())
            )
        )
        for name in ("NaN", "Infinity", "-Infinity", "1e400", "9" * 5000)
    }
    | {
        "expired": lambda f: f.with_claims(iat=f.now - 7200, exp=f.now - 11),
        "expires before it begins": lambda f: f.with_claims(iat=f.now + 5, exp=f.now + 5),
        "from the future": lambda f: f.with_claims(iat=f.now + 60, exp=f.now + 600),
        "lives longer than any of ours": lambda f: f.with_claims(exp=f.now + 86_401),
        "exp as a fraction": lambda f: f.with_claims(exp=f.now + 3600.5),
        "gen twice": lambda f: f.with_payload(compact_json(f.claims)[:-1] + b',"gen":1}'),
        "exp twice": lambda f: f.with_payload(b'{"exp":1,' + compact_json(f.claims)[1:]),
        "nbf": lambda f: f.with_claims(nbf=f.now + 600),
        "a claim we never make": lambda f: f.with_claims(admin=True),
        "prototype pollution": lambda f: f.with_claims(__proto__={"admin": True}),
        "claims are a list": lambda f: f.with_payload(b"[1]"),
        "claims are text": lambda f: f.with_payload(b'"x"'),
        "claims are null": lambda f: f.with_payload(b"null"),
        "claims are empty": lambda f: f.with_payload(b""),
        "claims are cut": lambda f: f.with_payload(compact_json(f.claims)[:-1]),
        "claims with more behind them": lambda f: f.with_payload(compact_json(f.claims) + b"{}"),
        "claims are no UTF-8": lambda f: f.with_payload(b"\xff\xfe" + compact_json(f.claims)),
        "claims are deep": lambda f: f.with_payload(b"[" * 600 + b"]" * 600),
        "claims are another token": lambda f: f.with_payload(f.good_token().encode()),
    }
)
SHAPES: dict[str, Forgery] = {
    "nothing": lambda _: "",
    "no token": lambda _: "abc",
    "two dots": lambda _: "..",
    "trailing dot": lambda f: f.good_token() + ".",
    "leading dot": lambda f: "." + f.good_token(),
    "four parts": lambda f: f.good_token() + ".x",
    "a JWE's five parts": lambda f: f.good_token() + ".AA.AA",
    "trailing byte": lambda f: f.good_token() + "A",
    "trailing newline": lambda f: f.good_token() + "\n",
    "trailing null": lambda f: f.good_token() + "\x00",
    "padded": lambda f: f.good_token() + "=",
    "padded payload": lambda f: f"{f.token_parts()[0]}.{f.token_parts()[1]}==.{f.token_parts()[2]}",
    "space inside": lambda f: f.good_token().replace(".", ". ", 1),
    "spaces around": lambda f: f"  {f.good_token()} ",
    "quoted": lambda f: f'"{f.good_token()}"',
    "two tokens": lambda f: f"{f.good_token()},{f.good_token()}",
    "standard base64": lambda f: f.good_token()[:-1] + "/",
    "stray bits in the signature": lambda f: f.good_token()[:-1] + chr(ord(f.good_token()[-1]) + 1),
    "stray bits in the claims": with_stray_bits,
    "not ASCII": lambda f: f.good_token() + "é",
    "wide letters": lambda f: f.good_token().replace("e", "\uff45", 1),
    "a zero-width space": lambda f: f.good_token()[:5] + "\u200b" + f.good_token()[5:],
    "very long": lambda _: "a" * 7_000,
    "a very long claim": lambda f: f.with_claims(jti="x" * 4_000),
    "JSON serialization": lambda f: json.dumps(
        dict(zip(("protected", "payload", "signature"), f.token_parts(), strict=True))
    ),
}
HOSTILE_TOKENS: dict[str, Forgery] = HEADERS | KEYS | CLAIMS | SHAPES
