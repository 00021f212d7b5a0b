"""Ready-made ``Auth`` objects, from a fixed key to OAuth 2.0 client credentials.

An ``Auth`` adds credentials to a request and gets new ones. The auth middleware decides when. Any number of clients and
tasks may share one object. No object shows its secret in ``repr``, ``str`` or an error.
"""

from resilient_client.auth._bearer import BearerAuth
from resilient_client.auth._oauth2 import OAuth2ClientCredentials
from resilient_client.auth._static import APIKeyAuth, BasicAuth
from resilient_client.auth._token import Token

__all__ = ["APIKeyAuth", "BasicAuth", "BearerAuth", "OAuth2ClientCredentials", "Token"]
