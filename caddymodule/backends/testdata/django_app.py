"""The routes for Django: as WSGI, and as ASGI with views of both kinds."""

import asyncio
import time

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from journal import inside

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[])
django.setup()


def fast(_request: HttpRequest) -> HttpResponse:
    """Answers at once."""
    return HttpResponse("fast\n")


def hold(request: HttpRequest) -> HttpResponse:
    """Blocks a thread: of the server, or one that Django starts for it."""
    with inside(request.GET["id"]):
        time.sleep(float(request.GET["seconds"]))
    return HttpResponse("done\n")


async def hold_async(request: HttpRequest) -> HttpResponse:
    """Is cancelled when its client leaves."""
    with inside(request.GET["id"]):
        await asyncio.sleep(float(request.GET["seconds"]))
    return HttpResponse("done\n")


urlpatterns = [
    path("fast", fast),
    path("hold", hold),
    path("async/fast", fast),
    path("async/hold", hold_async),
]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
