"""make bench: every benchmark that this machine can run, one after the other; peers where peers/install.sh has been."""

from benchmarks import (
    actor_speed,
    gpu_speed,
    learner_speed,
    lstm_speed,
    replay_speed,
    retro_speed,
    scaling,
    system_speed,
    wavenet_speed,
    where_time_goes,
)

for benchmark in (
    actor_speed,
    retro_speed,
    replay_speed,
    learner_speed,
    scaling,
    where_time_goes,
    system_speed,
    lstm_speed,
    wavenet_speed,
    gpu_speed,
):
    benchmark.main()
