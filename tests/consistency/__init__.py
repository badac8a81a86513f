"""An acknowledged stop is seen everywhere: a history of real requests, and the checker that judges it.

`checker` is pure: changes and reads with the moments at which they were sent and answered, in; violations, out.
`testbed` starts what is watched, `readers` and `inside` read, `operators` change, `chaos` breaks things, `soak` directs
them. `sabotage` breaks the promise on purpose, so that the checker is seen to notice.

Every moment is in seconds of CLOCK_MONOTONIC, which all processes of one machine share.
"""

# For `served`: the module of the application, in the environment; and the header that names the worker, in each answer.
APPLICATION, WORKER = "CONSISTENCY_APPLICATION", "X-Worker"
