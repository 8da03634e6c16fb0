"""The daemon itself and its models: health, metrics, what there is, what is in memory."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lfm2audio_mlx import __version__, installed
from lfm2audio_mlx.errors import ModelError
from lfm2audio_mlx.home import data_folder
from lfm2audio_mlx.installed import EMBEDDED, NANO, folder_size
from lfm_daemon.bodies import parsed
from lfm_daemon.faults import Fault, fault_of
from lfm_daemon.schemas import LoadRequest
from lfm_daemon.service import service_of, unless_gone

__all__ = ["ROUTES"]


async def health(request: Request) -> Response:
    """Version and state; answers at once whatever the worker does."""
    resident = service_of(request).resident
    return JSONResponse(
        {
            "status": "ok",
            "version": __version__,
            "state": resident.state,
            "model": resident.model.name if resident.model else None,
            "queue": resident.queue,
            "pid": os.getpid(),
            "home": str(data_folder()),
        }
    )


async def metrics(request: Request) -> Response:
    """Queue, latencies, real-time factor, memory and restarts, for Prometheus."""
    return Response(service_of(request).resident.measured(), media_type="text/plain; version=0.0.4")


async def models(request: Request) -> Response:
    """All models that are installed, and the one in the package."""
    there = {entry.name: entry.folder for entry in installed.models() if not entry.fault}
    found = [_model(name, folder) for name, folder in {NANO: EMBEDDED, **there}.items()]
    return JSONResponse({"object": "list", "data": found})


async def model(request: Request) -> Response:
    """One of them."""
    name: str = request.path_params["model"]
    if not name:
        return await models(request)
    found = service_of(request).model_of(name)
    return JSONResponse(_model(found.name, found.folder))


def _model(name: str, folder: Path) -> dict[str, object]:
    try:
        created = int((folder / "config.json").stat().st_mtime)
    except OSError as error:
        raise fault_of(ModelError(f"'{name}' is no model's folder")) from error
    return {"id": name, "object": "model", "created": created, "owned_by": "liquid-ai"}


async def load(request: Request) -> Response:
    """Have a model in memory, in place of the one that is there."""
    wanted = await parsed(request, LoadRequest)
    service = service_of(request)
    job = service.job(request, "load", wanted.model, {}, keep_alive=wanted.keep_alive)
    ready = await unless_gone(request, service.resident.load(job))
    about = {name: ready[name] for name in ("sample_rate", "voices", "device")}
    return JSONResponse({"model": job.model.name, **about})


async def unload(request: Request) -> Response:
    """Let the model go, as soon as nobody uses it."""
    resident = service_of(request).resident
    gone = resident.model.name if resident.model else None
    await resident.unload()
    return JSONResponse({"model": gone, "state": resident.state})


async def ps(request: Request) -> Response:
    """The models in memory: size, memory, device, seconds until they leave (null: for ever)."""
    found = service_of(request).resident.status()
    if not found:
        return JSONResponse({"models": []})
    size = folder_size(Path(found.pop("folder")))
    return JSONResponse({"models": [{**found, "size": size}]})


async def cancel(request: Request) -> Response:
    """End a job; what it has given so far stands."""
    if not service_of(request).resident.cancel(request.path_params["id"]):
        raise Fault(404, "no_such_job", "there is no job of this number")
    return JSONResponse({})


async def description(request: Request) -> Response:
    """All of it for programs."""
    from lfm_daemon.openapi import described

    return JSONResponse(described())


ROUTES = [
    Route("/openapi.json", description),
    Route("/health", health),
    Route("/metrics", metrics),
    Route("/v1/models", models),
    Route("/v1/models/{model:path}", model),
    Route("/api/ps", ps),
    Route("/api/load", load, methods=["POST"]),
    Route("/api/unload", unload, methods=["POST"]),
    Route("/api/jobs/{id:int}/cancel", cancel, methods=["POST"]),
]
