"""ejabberd as a process: in-band registration, stream management, offline storage, no limits."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scripts.services import Server, ServiceFailed, find_program


SETTINGS: Final = """hosts: [localhost]
loglevel: error
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    shaper: none
    access: all
    starttls_required: false
auth_method: internal
auth_password_format: plain
shaper_rules:
  max_user_offline_messages: 1000000
  max_user_sessions: 10
modules:
  mod_offline:
    access_max_user_messages: max_user_offline_messages
    store_empty_body: true
  mod_register:
    access: all
    access_from: all
    registration_watchers: []
  mod_stream_mgmt:
    max_ack_queue: infinity
    resend_on_timeout: true
registration_timeout: infinity
disable_sasl_mechanisms: [DIGEST-MD5, X-OAUTH2]
"""


class EjabberdProcess(Server):
    """One ejabberd with an empty Mnesia."""

    name = "ejabberd"

    def _prepare(self) -> None:
        (self.folder / "ejabberd.yml").write_text(SETTINGS.format(port=self.port))

    def _command(self) -> Sequence[str | Path]:
        found = sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin"))
        if not found:
            raise ServiceFailed("ejabberd is not installed: run bench/servers/install")
        folder = self.folder
        settings = [
            f"HOME={folder}",
            f"PATH={os.environ['PATH']}",
            f"EJABBERD_CONFIG_PATH={folder}/ejabberd.yml",
            f"EJABBERD_LOG_PATH={folder}/ejabberd.log",
            f"SPOOL_DIR={folder}",
            f"CONTRIB_MODULES_PATH={folder}",
            "LANG=C.UTF-8",
        ]
        erlang = ("-noinput", "-pa", found[-1], "-mnesia", "dir", f'"{folder}/mnesia"', "+K", "true", "-s", "ejabberd")
        return ["/usr/bin/env", "-i", *settings, find_program("erl"), *erlang]
