"""An S3 server for tests: s3proxy, which keeps buckets as folders and checks signatures."""

from collections.abc import Sequence
from pathlib import Path

from scripts.services import QUICK_JAVA, Server, ServiceFailed, cache_folder, find_program


S3PROXY_VERSION = "2.6.0"
BUCKET = "vyry-tests"
ACCESS_KEY = "tests"
SECRET = "only-for-tests"
_LOG = """<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %p %c %m%n</pattern></encoder></appender>
<root level="WARN"><appender-ref ref="out"/></root></configuration>
"""


class S3(Server):
    """One server with one bucket."""

    name = "s3"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def bucket(self) -> Path:
        """The folder where what is in the bucket lies."""
        return self.folder / "buckets" / BUCKET

    def environment(self, prefix: str) -> dict[str, str]:
        """The settings of a node that keeps its attachments there."""
        secret = self.folder / "secret"
        secret.touch(mode=0o600)
        secret.write_text(SECRET)
        return {
            "VYRY_ATTACHMENTS": f"s3://{BUCKET}/{prefix}",
            "VYRY_S3_ENDPOINT": self.url,
            "VYRY_S3_ACCESS_KEY": ACCESS_KEY,
            "VYRY_S3_SECRET_FILE": str(secret),
        }

    def _prepare(self) -> None:
        self.bucket.mkdir(parents=True)
        (self.folder / "logback.xml").write_text(_LOG)
        (self.folder / "s3proxy.conf").write_text(self._properties())

    def _command(self) -> Sequence[str | Path]:
        libraries = cache_folder(f"s3proxy-{S3PROXY_VERSION}")
        if not libraries.is_dir():
            raise ServiceFailed("s3proxy is not installed: run scripts/install-services")
        options = ("-Xmx128m", *QUICK_JAVA, "-Dlogback.configurationFile=logback.xml", "-cp", f"{libraries}/*")
        return [find_program("java"), *options, "org.gaul.s3proxy.Main", "--properties", "s3proxy.conf"]

    def _properties(self) -> str:
        return f"""
s3proxy.endpoint={self.url}
s3proxy.authorization=aws-v2-or-v4
s3proxy.identity={ACCESS_KEY}
s3proxy.credential={SECRET}
s3proxy.ignore-unknown-headers=true
jclouds.provider=filesystem-nio2
jclouds.identity=unused
jclouds.credential=unused
jclouds.filesystem.basedir={self.folder}/buckets
"""
