"""How often a run's processes talk to each other, where no setting says it: for nodes/ and for what a plan expects."""

REPORT_EVERY_S = 1.0  # an actor's or the learner's reports to metrics
FEW_ACTORS = 4  # of a node: they cost weights and metrics less than a process more is worth. More share a relay
ASK_EVERY_S = 0.25  # a relay's questions for newer weights, and those of a process that infers for actors
GATHER_S = 0.5  # a relay's calls with the reports of its actors
