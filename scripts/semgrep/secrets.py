"""Examples for secrets.yml: `ruleid` marks what must be found, `ok` what must not."""

import hmac
import os

# ruleid: no-guessable-randomness
import random
import secrets

import jwt

# ruleid: no-guessable-randomness
from random import choice


def compares(self, otp, row, given, link):
    # ruleid: secrets-compared-in-constant-time
    if otp == row.otp:
        return True
    # ruleid: secrets-compared-in-constant-time
    if given != link.secret:
        return False
    # ruleid: secrets-compared-in-constant-time
    if row.code_hash == given:
        return True
    # ok: secrets-compared-in-constant-time
    if hmac.compare_digest(row.code_hash, given):
        return True
    # ok: secrets-compared-in-constant-time
    return row.purpose == given.purpose and row.attempts != 5


def draws():
    # ok: no-guessable-randomness
    return secrets.randbelow(10**6)


def says(log, otp, number, settings, refusal):
    # ruleid: no-secret-is-said
    log.info("sent", otp=otp)
    # ruleid: no-secret-is-said
    log.debug("asked", number=number.e164)
    # ruleid: no-secret-is-said
    print("code", otp)
    # ruleid: no-secret-is-said
    print(f"secret {settings.jwt_secret.get_secret_value()}")
    # ruleid: no-secret-is-said
    raise ValueError(f"{otp} is wrong")
    # ok: no-secret-is-said
    log.info("refused", code=refusal.code)
    # ok: no-secret-is-said
    log.info("sent", number=number.masked, size=4)
    # ok: no-secret-is-said
    print("sent", refusal)


def reads():
    # ruleid: settings-read-the-environment
    os.environ["JWT_SECRET"]
    # ruleid: settings-read-the-environment
    os.getenv("JWT_SECRET")
    # ok: settings-read-the-environment
    return os.getpid()


def decodes(token, key):
    # ruleid: tokens-are-verified
    jwt.decode(token, options={"verify_signature": False})
    # ruleid: tokens-are-verified
    jwt.decode(token, key, algorithms=["HS256", "none"])
    # ok: tokens-are-verified
    return jwt.decode(token, key, algorithms=["HS256"])
