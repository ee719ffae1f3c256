"""Receives webhooks: checks the signature, passes duplicates over, prints one JSON object a line.

    pip install fastapi uvicorn standardwebhooks
    WEBHOOK_SECRET=whsec_… uvicorn --app-dir examples/webhook_receiver receiver:app --port 8000

Then add an endpoint `http://…:8000/whatsapp`. One on this machine or network is private:
name its host in WEBHOOK_ALLOWED_HOSTS.
"""

import json
import os
from collections import OrderedDict
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

KNOWN = 100_000

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
known: OrderedDict[str, None] = OrderedDict()
"""The ids of what was handled. Keep them with your data if once is what you need."""
app = FastAPI()


@app.post("/whatsapp")
async def receive(request: Request) -> Response:
    """Answer 2xx only when the event is safely yours: all else makes it come again."""
    body = await request.body()
    try:
        event = webhook.verify(body, dict(request.headers))
    except WebhookVerificationError as error:
        raise HTTPException(401, str(error)) from error
    webhook_id = request.headers["webhook-id"]
    if webhook_id not in known:
        handle(event)
        known[webhook_id] = None
        if len(known) > KNOWN:
            known.popitem(last=False)
    return Response(status_code=204)


def handle(event: dict[str, Any]) -> None:
    """Work with one event."""
    line = {"type": event["type"], "session": event["sessionId"], "data": event["data"]}
    print(json.dumps(line), flush=True)
