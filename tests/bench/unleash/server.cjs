// Unleash as BENCH_PROCESSES processes on one port. The first one migrates, then the others start, one after another.
// Its settings come from the environment; prints "ready" when all answer.
"use strict";
const cluster = require("node:cluster");

if (cluster.isPrimary) {
  const stop = () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill("SIGKILL");
    process.exit(0);
  };
  process.on("SIGTERM", stop);
  process.on("disconnect", stop);
  cluster.on("exit", () => process.exit(1));
  const start = (left) => (left ? cluster.fork().once("message", () => start(left - 1)) : console.log("ready"));
  start(Number(process.env.BENCH_PROCESSES));
} else {
  require("unleash-server")
    .start({})
    .then(() => process.send("ready"))
    .catch((error) => {
      console.error(error);
      process.exit(1);
    });
}
