"""What the machine is doing and why a reply moved, beside the chat or on a screen of its own.

feed = Feed(poll=lambda: Polled(engine.watch(), engine.log_tail()), pid=lambda: engine.worker_pid)
feed.observe(event)      # each of the engine's events, and Chosen and Asked
yield MonitorPanel(feed) # beside the chat
app.push_screen(MonitorScreen(feed))
feed.close()             # when the app ends
"""

from __future__ import annotations

from forge_tui.monitor.feed import Feed
from forge_tui.monitor.panel import MonitorPanel
from forge_tui.monitor.reader import SystemReader
from forge_tui.monitor.reading import GpuReading, Reading
from forge_tui.monitor.screen import MonitorScreen
from forge_tui.monitor.state import Asked, Chosen, MonitorState, News, Polled

__all__ = [
    "Asked",
    "Chosen",
    "Feed",
    "GpuReading",
    "MonitorPanel",
    "MonitorScreen",
    "MonitorState",
    "News",
    "Polled",
    "Reading",
    "SystemReader",
]
