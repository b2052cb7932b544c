// Package stack starts the whole system as processes of its own, on a private PostgreSQL and a NATS server of its own, for tests and
// benchmarks that look at it from outside and do things to it: kill a process, stop it, let it go on, start it again.
//
// Two deployments exist: Separate has every service in its own process, several replicas of some; Workflowd has one process for all, as
// `make run` does. Each process is configured by its environment alone. Nothing outlives the process that started the stack: the
// kernel kills what is left.
package stack
