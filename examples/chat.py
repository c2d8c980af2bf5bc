"""Ask a local model two things; the second question builds on the first."""

from forge import Engine, Fallback, Text

with Engine.open() as engine:
    print(f"{engine.model.name} on {engine.backend}: {engine.device}")
    chat = engine.chat(system="You answer in one sentence.")
    for question in ("What is a steam engine?", "Who built the first one?"):
        print(f"\n> {question}")
        for event in chat.send(question, max_tokens=60):
            if isinstance(event, Text):
                print(event.text, end="", flush=True)
            elif isinstance(event, Fallback):
                print(f"\n[{event.source} failed: {event.reason}; on with {event.target}]")
