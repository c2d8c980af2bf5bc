"""What a person can ask for: keys, the palette, words after a slash and the help screen say it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """`word` follows the slash; `action` is the app's; `shown`: it has a place among the hints."""

    word: str
    action: str
    title: str
    help: str
    key: str = ""
    shown: bool = False


COMMANDS = (
    Command("help", "help", "Help", "every key and command", "f1", shown=True),
    Command("model", "model", "Model", "choose another model; the chat goes on", "f2", shown=True),
    Command("backend", "backend", "Backend", "choose what computes", "f3"),
    Command(
        "sampling", "sampling", "Sampling", "temperature and its relatives, length, seed", "f4"
    ),
    Command("system", "system", "System prompt", "what the model is told before all else", "f5"),
    Command(
        "monitor", "monitor", "Monitor", "what the machine does; again for more", "f6", shown=True
    ),
    Command("why", "details", "What happened", "all of what the banner says in short", "f7"),
    Command("edit", "edit", "Edit", "change a message and send it again; both stay", "f8"),
    Command("again", "again", "Again", "another answer; the old one stays", "ctrl+r", shown=True),
    Command("earlier", "branch(-1)", "Branch before", "the answer or message before it", "f9"),
    Command("later", "branch(1)", "Branch after", "the answer or message after it", "f10"),
    Command("new", "new", "New chat", "begin another conversation", "ctrl+n"),
    Command("chats", "chats", "Conversations", "find, open, rename, delete, export", "ctrl+o"),
    Command("code", "copy_code", "Copy code", "the last block of code, to the clipboard"),
    Command("copy", "copy_message", "Copy reply", "the last reply, to the clipboard"),
    Command("room", "room", "Make room", "drop or summarise the oldest turns"),
    Command("theme", "change_theme", "Theme", "other colours"),
    Command("quit", "leave", "Quit", "end the chat"),
)

WRITING = (
    ("Enter", "send"),
    ("Ctrl+J, Shift+Enter", "begin a new line"),
    ("Up, Down", "what was sent before, in the first and last line"),
    ("Esc", "stop the reply; take back what waits; hide the banner"),
    ("Ctrl+P", "the palette: every command by name"),
    ("Tab, Shift+Tab", "between the message and the conversation"),
    ("Ctrl+Q", "quit"),
)

READING = (
    ("Up, Down", "go from message to message"),
    ("E, R", "edit, or answer again, from the chosen message on"),
    ("[, ]", "the branch before or after"),
    ("C, Y", "copy its code, or all of it; a click on “copy” does as well"),
    ("Space", "show or hide the reasoning"),
    ("Page up, Page down, Home, End", "scroll"),
)


def said(text: str) -> tuple[Command, str] | None:
    """The command that a message is, with the words after it; None for a message."""
    if not text.startswith("/"):
        return None
    word, _, rest = text[1:].strip().partition(" ")
    found = next((command for command in COMMANDS if command.word == word.lower()), None)
    return (found, rest.strip()) if found else None


def help_text() -> str:
    """The help screen, as Markdown."""
    rows = [f"- `/{c.word}`{_key(c.key)}: {c.help}" for c in COMMANDS]
    writing = [f"- **{keys}**: {what}" for keys, what in WRITING]
    reading = [f"- **{keys}**: {what}" for keys, what in READING]
    return "\n".join(
        [
            *("# Commands", "", *rows, ""),
            *("# While writing", "", *writing, ""),
            *("# In the conversation", "", *reading, ""),
            "Without colours: NO_COLOR=1 forge chat. Line by line: forge chat --plain.",
        ]
    )


def _key(key: str) -> str:
    name = f"Ctrl+{key[5:].upper()}" if key.startswith("ctrl+") else key.upper()
    return f" ({name})" if key else ""
