// Package run is the execution of a workflow as a pure state machine: a compiled program, the journal of what its steps have done, and
// the question what comes next. It does no input or output and reads no clock, so that every interleaving of results, crashes and
// timers can be tried in memory.
//
// # Journal
//
// Whatever a step did is a Result, identified by the step's path and the number of the attempt. The journal of recorded results is the
// whole state of a run: New replays it and goes on exactly behind it, never doing again what is recorded. Steps without an effect
// outside (conditions, variables, skips) are done in memory and wait in TakePending; the caller records them before it executes the
// next Call, since an effect must never depend on a decision that a crash could take differently.
//
//	         ┌──────────────► Call ── Done ──┐
//	New ── Next ◄────────────────────────────┘
//	         ├──────────────► Wait   (record pending, release the slot, later New with the journal)
//	         └──────────────► End    (record pending with the outcome)
//
// # Paths
//
// The path of a step is its id, behind those of the steps around it: `check.notify` is the step `notify` in a branch of the condition
// `check`, or among the steps that handle an error of `check`.
package run
