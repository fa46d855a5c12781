"""Submits inside Django's transactions: a program of its own, for Django is set up once a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import PostgresServer

from .helpers import TOKEN

PROGRAM = """
import json, sys
import django
from django.conf import settings
from kurir import InvalidMessage, Settings
from kurir.blocking import BlockingKurir

store, token, engine, name, port = sys.argv[1:]
postgres = {"USER": "postgres", "HOST": "127.0.0.1", "PORT": port} if port else {}
settings.configure(DATABASES={"default": {"ENGINE": f"django.db.backends.{engine}", "NAME": name, **postgres}})
django.setup()
from django.db import connection, transaction

def undone(text):
    try:
        with transaction.atomic():
            kurir.send_text(42, text, connection=connection)
            raise LookupError
    except LookupError:
        pass

with BlockingKurir(store, token, settings=Settings()) as kurir:
    try:
        kurir.send_text(42, "in autocommit", connection=connection)
    except InvalidMessage as error:
        assert "transaction.atomic()" in error.remedy, error
    with transaction.atomic():
        kurir.send_text(42, "committed", connection=connection)
    undone("rolled back")
    with transaction.atomic(), connection.cursor() as cursor:
        undone("rolled back inside")
        kurir.send_text(42, "by its cursor", connection=cursor)
    connection.close()
    print(json.dumps([json.loads(record.params)["text"] for record in kurir.find(oldest_first=True).items]))
"""


def run(store: str, engine: str, name: str, port: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, store, TOKEN, engine, name, port],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("engine", ["sqlite3", "postgresql"])
def test_what_commits_is_there_and_what_is_rolled_back_is_not(
    engine: str, tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    if engine == "sqlite3":
        told = run(f"sqlite:///{tmp_path}/shop.db", engine, f"{tmp_path}/shop.db")
    else:
        told = run(postgres_url, engine, "postgres", str(postgres_server.port))
    assert told == '["committed", "by its cursor"]'
