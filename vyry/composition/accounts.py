"""The services of accounts: sign-up, sessions, PINs, usernames, deletion, export."""

from datetime import timedelta

from vyry.accounts.deletion import Deletion
from vyry.accounts.export import Exports
from vyry.accounts.idle_devices import IdleDevices
from vyry.accounts.joining import Joining
from vyry.accounts.own_pin import OwnPin
from vyry.accounts.recovery import Recovery
from vyry.accounts.remaining_quotas import RemainingQuotas
from vyry.accounts.sessions import Sessions
from vyry.accounts.signup import NoGuard, ProofOfWork, Registration, Signup, SignupGuard
from vyry.accounts.signup_invitations import SignupInvitations
from vyry.accounts.usernames import Usernames
from vyry.composition.shared import SharedServices
from vyry.delivery.webhook_signing import webhook_key
from vyry.delivery.webhook_signup_guard import WebhookSignupGuard
from vyry.in_process.tickets import InProcessTickets
from vyry.limits import MEMBER_INVITES, RECOVERY_NETWORK, RECOVERY_TRIES, USERNAMES
from vyry.redis.tickets import RedisTickets
from vyry.signals.socket_quotas import ConnectionSlots
from vyry.storage.account_deletion import TortoiseDeletion
from vyry.storage.account_export import TortoiseExportSource
from vyry.storage.idle_devices import TortoiseIdleDevices
from vyry.storage.joining import TortoiseJoining
from vyry.storage.pins import TortoiseUnlockTokens
from vyry.storage.recovery import TortoiseRecovery
from vyry.storage.signup_invitations import TortoiseSignupInvitations


def build_deletion(shared: SharedServices) -> Deletion:
    """Deletion of accounts."""
    return Deletion(
        TortoiseDeletion(),
        accounts=shared.stores.accounts,
        codes=shared.one_time_codes,
        pins=shared.pins,
        recovery=build_recovery(shared),
        pepper=shared.pepper,
        revocations=shared.revocations,
        clock=shared.clock,
    )


def build_exports(shared: SharedServices) -> Exports:
    """Exports of accounts."""
    archive = TortoiseExportSource(shared.infrastructure.mail_store)
    return Exports(archive, shared.stores.accounts, shared.pepper, shared.limiter, shared.clock)


def build_idle_devices(shared: SharedServices) -> IdleDevices:
    """The end of devices without use."""
    lifetime = timedelta(days=shared.settings.idle_device_days)
    return IdleDevices(TortoiseIdleDevices(), shared.revocations, shared.clock, lifetime)


def build_usernames(shared: SharedServices) -> Usernames:
    """Usernames."""
    return Usernames(shared.stores.accounts, shared.clock, shared.quotas[USERNAMES.name])


def build_remaining_quotas(shared: SharedServices, connection_slots: ConnectionSlots) -> RemainingQuotas:
    """What is left of the quotas of a caller."""
    return RemainingQuotas(
        shared.quotas,
        accounts=shared.stores.accounts,
        usernames=build_usernames(shared),
        invitations=build_signup_invitations(shared),
        codes=shared.one_time_codes,
        pins=shared.pins,
        shared=shared.limiter,
        buckets=shared.buckets,
        sockets=connection_slots,
    )


def build_registration(shared: SharedServices) -> Registration:
    """Sign-up and sign-in."""
    arrivals = Signup(shared.stores.accounts, TortoiseUnlockTokens(), shared.pins, shared.tokens, shared.revocations)
    ways = shared.settings.sign_up
    return Registration(shared.one_time_codes, _signup_guard(shared), arrivals, is_open="number" in ways)


def build_joining(shared: SharedServices) -> Joining:
    """Accounts by invitation."""
    return Joining(
        TortoiseJoining(),
        ways=shared.settings.sign_up,
        names=build_usernames(shared),
        tokens=shared.tokens,
        revocations=shared.revocations,
        pepper=shared.pepper,
        limiter=shared.limiter,
    )


def build_recovery(shared: SharedServices) -> Recovery:
    """Recovery codes."""
    return Recovery(
        TortoiseRecovery(),
        locks=TortoiseUnlockTokens(),
        pins=shared.pins,
        tokens=shared.tokens,
        revocations=shared.revocations,
        pepper=shared.pepper,
        per_name=shared.quotas[RECOVERY_TRIES.name],
        per_network=shared.quotas[RECOVERY_NETWORK.name] if shared.has_limits else None,
    )


def build_signup_invitations(shared: SharedServices) -> SignupInvitations:
    """The invitations of members."""
    quota = shared.quotas[MEMBER_INVITES.name]
    return SignupInvitations(TortoiseSignupInvitations(), shared.pepper, shared.clock, quota)


def build_own_pin(shared: SharedServices) -> OwnPin:
    """The PIN of a caller."""
    return OwnPin(
        shared.pins,
        store=shared.stores.pins,
        accounts=shared.stores.accounts,
        codes=shared.one_time_codes,
        recovery=build_recovery(shared),
        pepper=shared.pepper,
        clock=shared.clock,
    )


def _signup_guard(shared: SharedServices) -> SignupGuard:
    if shared.settings.captcha is None:
        return NoGuard()
    kind, _, target = shared.settings.captcha.get_secret_value().partition(":")
    if kind == "hashcash":
        return ProofOfWork(int(target), shared.clock)
    return WebhookSignupGuard(target, webhook_key(shared.settings.jwt_secret.get_secret_value().encode()), shared.clock)


def build_sessions(shared: SharedServices) -> Sessions:
    """Sessions of devices."""
    redis = shared.infrastructure.redis
    tickets = InProcessTickets(shared.clock) if redis is None else RedisTickets(redis)
    return Sessions(shared.stores.sessions, tickets, shared.tokens, shared.device_statuses, shared.revocations)
