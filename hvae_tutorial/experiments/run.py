"""A run: one model, trained and measured once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hvae_tutorial import __version__
from hvae_tutorial.records import record_name, settings_key


@dataclass(frozen=True)
class Run:
    """What a run is, and where it happens. `Experiment.run` makes one with every setting that the experiment has.

    Attributes:
        experiment: the name under which it is recorded: "table1", ...
        settings: everything that decides its numbers, as its record will keep it: JSON's own types.
        device: where it is done, as `training.resolve_device` takes it. It is no setting.
    """

    experiment: str
    settings: Mapping[str, Any]
    device: str = "auto"

    @property
    def seed(self) -> int:
        """The seed of everything that is random in it."""
        return self.settings["seed"]

    @property
    def key(self) -> str:
        """Hash of the experiment, the settings and the package version."""
        return settings_key(self.experiment, self.settings, __version__)

    @property
    def name(self) -> str:
        """Name of this run's files, without extension: unique among all runs."""
        return record_name(self.experiment, self.settings, self.key)

    @property
    def title(self) -> str:
        """What messages and progress bars call it."""
        settings = self.settings
        d = ",".join(map(str, settings["d"])) if isinstance(settings["d"], list) else settings["d"]
        beta = "" if settings.get("beta", 1) == 1 else f" beta={settings['beta']:g}"
        return f"{settings['data']} {settings['model']} d={d}{beta} seed={settings['seed']}"
