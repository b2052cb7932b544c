//go:build nofence

package engine

// fenced without effect: for the crash test alone, which must then fail.
const fenced = false
