"""The settings of data-parallel workers, the same for every trainer."""

from __future__ import annotations

from pydantic import Field, PositiveInt, model_validator

from trainkit.count_range import CountRange, Range
from trainkit.section import Section

ADDRESS = "workers.address"  # as errors name it
PROCESSES = "(RayTrainWorker|TrainController)"  # Ray Train's actors, for boards


class WorkersConfig(Section):
    """Data-parallel workers on the cluster."""

    address: str | None = Field(
        None,
        description="auto, host:port, ray://host:port or local; null: the Ray of this process, RAY_ADDRESS or local",
    )
    count: PositiveInt | Range = Field(
        1, description="workers; a range such as 2-8: as many as there is room for, and more when nodes join"
    )
    cpus: PositiveInt = Field(1, description="cores of each")
    gpu: bool = Field(False, description="one GPU for each")
    labels: dict[str, str] = Field(
        default_factory=dict, description="Ray's label selector of the nodes for them, such as {pool: actors}"
    )
    autoscale_s: float = Field(
        0.0, ge=0, description="seconds to wait for an autoscaler's nodes where the job fits none that are there"
    )
    max_failures: int = Field(3, ge=0, description="times that lost workers are started again from the last checkpoint")

    @model_validator(mode="after")
    def _fewest_first(self) -> WorkersConfig:
        self.range.check()
        return self

    def refuse_too_few(self, batch: int, row: str) -> None:
        """ValueError when some workers would have no row of a batch: their sums would wait for each other for ever."""
        if batch < self.range.most:
            raise ValueError(f"training.batch {batch} has no {row} for some of workers.count {self.range.most}")

    @property
    def range(self) -> CountRange:
        """Of workers."""
        return CountRange.of(self.count)
