"""What the machine is doing and why a reply moved, beside the chat or on a screen of its own.

    feed = Feed(lambda: Polled(engine.watch(), engine.log_tail()), lambda: engine.worker_pid)
    feed.observe(event)       # each of the engine's events, and Chosen, Named and Asked
    yield MonitorPanel(feed)  # beside the chat
    app.push_screen(MonitorScreen(feed))
    feed.close()              # when the app ends

Names are imported when they are first used: the engine's first news must not wait for widgets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forge_tui.monitor.feed import Feed as Feed
    from forge_tui.monitor.panel import MonitorPanel as MonitorPanel
    from forge_tui.monitor.reader import SystemReader as SystemReader
    from forge_tui.monitor.reading import GpuReading as GpuReading
    from forge_tui.monitor.reading import Reading as Reading
    from forge_tui.monitor.screen import MonitorScreen as MonitorScreen
    from forge_tui.monitor.state import Asked as Asked
    from forge_tui.monitor.state import Chosen as Chosen
    from forge_tui.monitor.state import MonitorState as MonitorState
    from forge_tui.monitor.state import Named as Named
    from forge_tui.monitor.state import News as News
    from forge_tui.monitor.state import Polled as Polled
    from forge_tui.monitor.state import is_news as is_news

_NAMES = {
    "feed": "Feed",
    "panel": "MonitorPanel",
    "reader": "SystemReader",
    "reading": "GpuReading Reading",
    "screen": "MonitorScreen",
    "state": "Asked Chosen MonitorState Named News Polled is_news",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Asked",
    "Chosen",
    "Feed",
    "GpuReading",
    "MonitorPanel",
    "MonitorScreen",
    "MonitorState",
    "Named",
    "News",
    "Polled",
    "Reading",
    "SystemReader",
    "is_news",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'forge_tui.monitor' has no attribute {name!r}")
    value: object = getattr(import_module(f"forge_tui.monitor.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
