"""make bench: every benchmark that this machine can run, one after the other; peers where peers/install.sh has been."""

from benchmarks import actor_speed, learner_speed, replay_speed, scaling, system_speed

for benchmark in (actor_speed, replay_speed, learner_speed, scaling, system_speed):
    benchmark.main()
