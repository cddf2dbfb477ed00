"""Places an order and reads it, with a client generated from the description of the API: python order.py URL"""

import json
import sys
from uuid import UUID

from tradewind_client import AuthenticatedClient
from tradewind_client.api.orders import get_order, place_order
from tradewind_client.api.products import get_product
from tradewind_client.models import NewLine, NewOrder, OrderView, Problem

client = AuthenticatedClient(base_url=sys.argv[1], token="secret")
placed = place_order.sync(
    "acme",
    client=client,
    body=NewOrder(currency="GBP", lines=[NewLine(sku="MUG", quantity=2)]),
    idempotency_key="python-1",
    prefer="wait=30",
)
assert isinstance(placed, OrderView), placed
read = get_order.sync("acme", UUID(str(placed.id)), client=client)
assert isinstance(read, OrderView), read
print(json.dumps({
    "same": read.id == placed.id,
    "total": read.total,
    "status": read.status,
    "sku": read.lines[0].sku,
}))
none = get_product.sync_detailed("acme", "NONE", client=client)
assert isinstance(none.parsed, Problem), none
print(json.dumps({"code": none.parsed.code, "status": none.status_code}))
