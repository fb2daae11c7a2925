"""make bench: every benchmark that this machine can run, one after the other."""

from benchmarks import actor_speed, learner_speed, replay_speed

for benchmark in (actor_speed, replay_speed, learner_speed):
    benchmark.main()
