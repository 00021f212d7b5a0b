"""Who the caller is: ready-made ``Auth`` objects, from a fixed key to OAuth 2.0.

They know how to put credentials on a request and how to get new ones; *when* is the business of the middleware.
An object may be shared by many clients and tasks. None shows its secret in ``repr``, ``str`` or an error.
"""

from resilient_client.auth._bearer import BearerAuth
from resilient_client.auth._oauth2 import OAuth2ClientCredentials
from resilient_client.auth._static import APIKeyAuth, BasicAuth
from resilient_client.auth._token import Token

__all__ = ["APIKeyAuth", "BasicAuth", "BearerAuth", "OAuth2ClientCredentials", "Token"]
