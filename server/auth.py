"""The tokens' file for operators' own scripts, under the name it had before it moved to `http`."""

from .http.tokens import digest_of, new_token, read_tokens, revoke

__all__ = ["digest_of", "new_token", "read_tokens", "revoke"]
