"""Hooks of schemathesis, see fuzz.sh: an access token for guarded requests, and the answers that are not the server's."""

import os
import subprocess

import schemathesis


# Asked for again after a 401, because some operations end the session that calls them.
@schemathesis.auth()
class AccessToken:
    def get(self, case, context):
        command = [os.environ["OMNISTACK"], "token", "--email", os.environ["FUZZ_EMAIL"]]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


# The HTTP parser answers a URL above 64 KiB with a bare 414, and a head above 32 KiB with a bare 431: the request reaches no
# operation.
@schemathesis.hook
def filter_failure(context, failure, case, response):
    return response.status_code not in (414, 431)
