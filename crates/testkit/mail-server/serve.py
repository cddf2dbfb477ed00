"""A mail server for tests: accepts mails, and misbehaves as it is told.

    python serve.py '{"tls": "none"}'

The options are "tls" (none, starttls, implicit), "certificate" and "key" (files), "user" and "password".

It prints a line of JSON for each thing that happens: {"port": …} once it listens, {"mail": …} for a mail that it
accepts, {"set": …} for a behaviour that it has taken over. A line on its standard input sets one:

    {"mailbox": "busy", "behaviour": "450 4.2.1 later"}

is how it answers RCPT for every address with that part before the `@`. Instead of an answer a behaviour can be
"hang" (no answer), "close" (the connection is closed), "accept" (as without it), "hang_after_data" and
"close_after_data" (the same when it has the mail).
"""

import asyncio
import json
import logging
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

FOREVER = 3600

logging.getLogger("mail.log").setLevel(logging.CRITICAL)
options = json.loads(sys.argv[1])
behaviours = {}
connections = 0


def say(what):
    print(json.dumps(what), flush=True)


def behaviour(address):
    return behaviours.get(address.split("@")[0], "accept")


async def misbehave(server, how):
    if how == "hang":
        await asyncio.sleep(FOREVER)
    server.transport.abort()
    await asyncio.sleep(FOREVER)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        how = behaviour(address)
        if how in ("hang", "close"):
            await misbehave(server, how)
        if how[0].isdigit():
            return how
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        how = behaviour(envelope.rcpt_tos[0])
        say(
            {
                "mail": {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "message": envelope.content.decode("utf-8"),
                    "connection": server.number,
                    "is_encrypted": server.transport.get_extra_info("sslcontext") is not None,
                    "user": getattr(session, "user", None),
                }
            }
        )
        if how.endswith("_after_data"):
            await misbehave(server, how.removesuffix("_after_data"))
        return "250 2.0.0 OK"


def authenticate(server, session, envelope, mechanism, data):
    user, password = data.login.decode(), data.password.decode()
    if (user, password) != (options["user"], options["password"]):
        return AuthResult(success=False, handled=False)
    session.user = user
    return AuthResult(success=True)


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(options["certificate"], options["key"])
    return made


def protocol():
    global connections
    connections += 1
    is_starttls = options["tls"] == "starttls"
    has_login = "user" in options
    made = SMTP(
        Handler(),
        enable_SMTPUTF8=False,
        tls_context=context() if is_starttls else None,
        require_starttls=is_starttls,
        authenticator=authenticate if has_login else None,
        auth_required=has_login,
        auth_require_tls=is_starttls,
    )
    made.number = connections
    return made


async def read_behaviours(loop):
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        setting = json.loads(line)
        behaviours[setting["mailbox"]] = setting["behaviour"]
        say({"set": setting["mailbox"]})


async def main():
    loop = asyncio.get_running_loop()
    implicit = context() if options["tls"] == "implicit" else None
    port = options.get("port", 0)
    server = await loop.create_server(protocol, "127.0.0.1", port, ssl=implicit)
    say({"port": server.sockets[0].getsockname()[1]})
    # It ends with the test, whose end of the pipe is closed then.
    await read_behaviours(loop)


asyncio.run(main())
