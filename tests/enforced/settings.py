"""As little as a project can have. Nothing of `valhalla`, and none of the app's settings but where a test sets one."""

import os

import environ

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["*"]
USE_TZ = os.environ.get("ENFORCED_USE_TZ") != "false"
TIME_ZONE = os.environ.get("ENFORCED_TIME_ZONE", "UTC")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "golive",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
ENFORCEMENT = "golive.middleware.GoLiveEnforcementMiddleware"
MIDDLEWARE = [
    "corsheaders.middleware.CorsMiddleware",
    ENFORCEMENT,
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "golive.middleware.AtomicRequestMiddleware",
]
ROOT_URLCONF = "tests.enforced.urls"
STATIC_URL = "static/"
CORS_ALLOWED_ORIGINS = ["https://shop.example.com"]
GOLIVE_EXEMPT_PREFIXES = ["/open/"]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tests.enforced.views.process_context",
            ],
        },
    },
]

DATABASES = {"default": {**environ.Env.db_url_config(os.environ["DATABASE_URL"]), "ATOMIC_REQUESTS": True}}
if "postgresql" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"] |= {"ENGINE": "golive.postgresql", "CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True}

# Not there at all unless a test asks for it.
if os.environ.get("ENFORCED"):
    GO_LIVE_ENFORCE = os.environ["ENFORCED"] == "true"
if os.environ.get("ENFORCED_APP_ENV"):
    APP_ENV = os.environ["ENFORCED_APP_ENV"]
