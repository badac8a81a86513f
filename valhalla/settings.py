"""Django settings. Values that differ between installations come from `valhalla.environment`."""

from __future__ import annotations

import hashlib
from typing import Any

from csp.constants import NONE, SELF

from valhalla.environment import BASE_DIR, load

environment = load()

APP_ENV = environment.app_env
GOLIVE_ENVIRONMENT = environment.environment_name
IS_PRODUCTION = environment.is_production
RELEASE = environment.release

# Off everywhere: a control plane must not show tracebacks, and development should behave like production.
DEBUG = False
# Derived, because Render generates 44 characters and Django's deployment check asks for 50.
SECRET_KEY = hashlib.sha512(b"valhalla.django.secret-key:" + environment.secret_key.encode()).hexdigest()

_LOCAL_HOSTS = ("localhost", ".localhost", "127.0.0.1", "[::1]")
ALLOWED_HOSTS = [
    *environment.allowed_hosts,
    *((environment.render_external_hostname,) if environment.render_external_hostname else ()),
    *(() if IS_PRODUCTION else _LOCAL_HOSTS),
]
# The page's own origin is trusted anyway, since the proxy passes on host and scheme. A wildcard host adds no trusted
# origins: whoever controls one subdomain could forge a release by an operator who is signed in here.
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS if not host.startswith((".", "*"))]

INSTALLED_APPS = [
    "golive",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "csp",
]

MIDDLEWARE = [
    "golive.middleware.RequestIdMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    # All views of this project are marked exempt; any view that is added is guarded.
    "golive.middleware.GoLiveEnforcementMiddleware",
    # Before anything that checks the host, the scheme or the database: a probe must not depend on them.
    "golive.middleware.LivenessMiddleware",
    "golive.middleware.DatabaseDeadlineMiddleware",
    "golive.middleware.PlainHttpMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "valhalla.middleware.ContentSecurityPolicyMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "golive.middleware.CommonMiddleware",
    # Above: what every response needs. Below: what only signed-in people need.
    "golive.middleware.CookielessEndpointMiddleware",
    "golive.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "valhalla.middleware.MessageMiddleware",
    # Last: it runs the view itself, inside the transaction of ATOMIC_REQUESTS.
    "golive.middleware.AtomicRequestMiddleware",
]

ROOT_URLCONF = "valhalla.urls"
WSGI_APPLICATION = "valhalla.wsgi.application"
APPEND_SLASH = False  # every path works with and without it, and a redirect would lose a POST

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # The look of this project's admin. Not the app's, which leaves that of its host alone.
        "DIRS": [BASE_DIR / "valhalla" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def _database() -> dict[str, Any]:
    """The database settings. Connections are persistent, since one per request costs a factor of seven, and are checked
    before use. They last half a minute, so that a host name that moves to another server is followed within a minute.
    """
    config: dict[str, Any] = {
        **environment.database,
        "ATOMIC_REQUESTS": True,
        "CONN_MAX_AGE": 30,
        "CONN_HEALTH_CHECKS": True,
    }
    options: dict[str, Any] = dict(config.get("OPTIONS", {}))
    if config["ENGINE"] == "django.db.backends.postgresql":
        config["ENGINE"] = "golive.postgresql"
        # In seconds. The keepalives detect a vanished host even when no data is in flight.
        options = {
            "connect_timeout": 2,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "application_name": "valhalla",
            **options,
        }
    else:
        config["ENGINE"] = "valhalla.sqlite"
        # IMMEDIATE: a transaction that reads and then writes would otherwise fail at once with "database is locked".
        # WAL: readers are not blocked by a writer. The timeout is in seconds and below the limit for a change.
        options = {
            "timeout": 4,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
            **options,
        }
        config["TEST"] = {"NAME": f"{config['NAME']}.test"}
    return {**config, "OPTIONS": options}


DATABASES = {"default": _database()}
# How migrate bypasses a connection pooler, and the name by which it verifies that this is the same database.
GOLIVE_DIRECT_DATABASE = environment.database_direct
GOLIVE_DATABASE_NAME = environment.database["NAME"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"  # after a sign-in whose `next` leads to another site
CSRF_FAILURE_VIEW = "golive.web.error_pages.handle_csrf_failure"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "valhalla" / "static"]
# Filled by collectstatic, which only a deploy runs; development serves the files from their sources.
STATIC_ROOT = BASE_DIR / "staticfiles" if IS_PRODUCTION else None
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"
        if IS_PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not IS_PRODUCTION

# Behind Render's proxy, which terminates TLS and sets this header; it strips the header from client requests.
if IS_PRODUCTION:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    # Paths for programs, which take a redirect for success: these respond over plain HTTP or refuse with a message.
    SECURE_REDIRECT_EXEMPT = [r"^(api|ofrep|readyz)(/|$)"]
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
# Session keys that classify a request's load without a database query.
SESSION_ENGINE = "golive.identity.session_keys"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 60 * 60  # seconds: a shift, not a fortnight
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# Consumers in browsers: WeWeb's editor, previews and published pages. Without cookies.
CORS_ALLOWED_ORIGINS = [
    "https://editor.weweb.io",
    "https://app.weweb.io",
    "https://preview.weweb.io",
    *environment.cors_allowed_origins,
]
CORS_ALLOWED_ORIGIN_REGEXES = [r"^https://([a-z0-9-]+\.)+weweb\.(io|app)\Z"]
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_HEADERS = [
    "accept",
    "authorization",
    "baggage",
    "cache-control",
    "content-type",
    "if-none-match",
    "pragma",
    # Tracing headers, which an instrumented page adds to every request.
    "sentry-trace",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-request-id",
    "x-requested-with",
]
CORS_EXPOSE_HEADERS = ["ETag", "X-Request-ID", "Retry-After"]

GOLIVE_PUBLIC_DETAILS = environment.public_details
GOLIVE_READ_TOKEN_REQUIRED = environment.read_token_required
GO_LIVE_ENFORCE = environment.enforce
GOLIVE_EXEMPT_PREFIXES = environment.exempt_prefixes
GOLIVE_CLOSE_ON_FAILOVER = environment.close_on_failover
GOLIVE_TRUSTED_PROXIES = environment.trusted_proxies
GOLIVE_SAFE_MIGRATE = environment.safe_migrate

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "request_id": {"()": "golive.web.request_id.RequestIdFilter"},
        "one_line": {"()": "valhalla.logs.OneLineFilter"},
    },
    "formatters": {
        "line": {
            "()": "valhalla.logs.VisibleFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}},
    "root": {"handlers": ["console"], "level": environment.log_level},
    "loggers": {
        "django": {"handlers": [], "level": environment.log_level, "propagate": True},
        # Scanners send arbitrary hosts all day, and the traceback is always the same.
        "django.security.DisallowedHost": {"filters": ["one_line"]},
    },
}
