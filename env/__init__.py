"""A Gymnasium environment in which one episode builds one schedule."""

from gymnasium.envs.registration import register, registry

ID = "oncore/Schedule-v0"

if ID not in registry:
    register(id=ID, entry_point="env.schedule_env:ScheduleEnv")
