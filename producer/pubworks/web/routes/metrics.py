"""Numbers for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from pubworks.web.desk import AtDesk, Reader

router = APIRouter(tags=["access"])


@router.get("/metrics", response_class=Response)
def metrics(desk: AtDesk, _who: Reader) -> Response:
    """Show what the server counted, and how the fleet stands, in the text format of Prometheus."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return Response(generate_latest(desk.metrics), media_type=CONTENT_TYPE_LATEST)
