"""Hooks of schemathesis: an access token for each guarded request. See fuzz.sh."""

import os
import subprocess

import schemathesis


# Asked again after a 401, because some operations end the session that calls them.
@schemathesis.auth()
class AccessToken:
    def get(self, _case, _context):
        command = [os.environ["OMNISTACK"], "token", "--email", os.environ["FUZZ_EMAIL"]]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def set(self, case, token, _context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}
