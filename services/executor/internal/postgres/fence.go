//go:build !nofence

package postgres

// fence makes a row count as mine only while its owner and epoch are those under which it was taken up. Without it a process that slept
// through its lease would write beside its successor; the tag nofence removes it, so that the crash test can show that it matters.
// IS NOT DISTINCT FROM keeps the planner from looking all rows of the owner up and comparing them with the batch.
const fence = `l.owner IS NOT DISTINCT FROM $1 AND l.epoch = r.epoch`
