"""The settings of data-parallel workers, the same for every trainer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator


class WorkersConfig(BaseModel):
    """Data-parallel workers on the cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(
        None,
        description="auto, host:port, ray://host:port or local; null: the Ray of this process, RAY_ADDRESS or local",
    )
    count: PositiveInt | tuple[PositiveInt, PositiveInt] = Field(
        1, description="workers, or [fewest, most]: as many as there is room for, and more when nodes join"
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
        if self.fewest > self.most:
            raise ValueError(
                f"count [{self.fewest}, {self.most}] asks for at least {self.fewest} and at most {self.most}; "
                f"expected [fewest, most]"
            )
        return self

    def refuse_too_few(self, batch: int, row: str) -> None:
        """ValueError when some workers would have no row of a batch: their sums would wait for each other for ever."""
        if batch < self.most:
            raise ValueError(f"training.batch {batch} has no {row} for some of workers.count {self.most}")

    @property
    def fewest(self) -> int:
        """Workers at the least."""
        return self.count if isinstance(self.count, int) else self.count[0]

    @property
    def most(self) -> int:
        """Workers at the most."""
        return self.count if isinstance(self.count, int) else self.count[1]
