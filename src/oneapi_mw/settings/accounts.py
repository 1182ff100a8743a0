"""Settings of logins, mail and payments."""

from __future__ import annotations

from typing import Literal

from oneapi_mw.settings.kinds import Items, Origin, Positive, Secret
from oneapi_mw.settings.section import Section


class AccountSettings(Section):
    """Passkeys, mail and payments."""

    webauthn_rp_id: str = ""
    """Host name that passkeys belong to. Empty is that of the option `ServerAddress`, else `localhost`."""
    webauthn_rp_origins: Items = ()
    """Origins that passkeys may be used from. Empty is the option `ServerAddress`."""
    force_email_tls_verify: bool = False
    """Check the certificate of the mail server."""
    email_provider: Literal["", "smtp", "resend"] = ""
    """What sends mail. Empty is Resend when its key is set, else SMTP."""
    resend_api_key: Secret = ""
    """Key of Resend."""
    stripe_secret_key: Secret = ""
    """Key of Stripe."""
    stripe_webhook_secret: Secret = ""
    """Secret that signs Stripe's webhooks."""
    stripe_public_base_url: Origin = ""
    """Origin that Stripe returns to. Payments are on when all three are set."""
    min_topup_usd: Positive = 5
    """US dollars: the smallest payment."""
