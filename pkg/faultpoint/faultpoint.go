// Package faultpoint names the places in the services at which tests kill a process. In a normal build there is nothing to
// them; with the build tag `faultpoints` the process kills itself, as kill -9 does, when it comes to the place that the environment
// variable FAULT_POINT names. The variable is no setting: it has no place among those that people set, and a normal build ignores it.
//
// A place is named by service and phase, for example `catalog.delete.claimed`. What the code around it promises must hold whether or not
// the process gets past it.
package faultpoint

// Variable names the place at which the process ends.
const Variable = "FAULT_POINT"
