"""The process's limit of open files: each connection takes one."""

import resource


def connection_capacity(connections: int, reserved: int) -> int:
    """How many of `connections` the process can serve besides `reserved` other files: raises its limit of open files as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + reserved
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(connections, soft - reserved))
