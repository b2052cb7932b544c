//go:build nofence

package postgres

// fence without effect: for the crash test alone, which must then fail.
const fence = `($1::uuid IS NOT NULL)`
