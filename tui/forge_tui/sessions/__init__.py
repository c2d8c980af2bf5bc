"""The conversations that were kept, on a screen: find, open, rename, fork, delete, export.

chosen = await app.push_screen_wait(SessionsScreen(archive.ask, now=number))
"""

from __future__ import annotations

from forge_tui.sessions.screen import SessionsScreen

__all__ = ["SessionsScreen"]
