//go:build !nofence

package postgres

// fence makes a row count as mine only while its owner and epoch are those under which it was taken up. Without it a process that slept
// through its lease would write beside its successor; the tag nofence removes it, so that the crash test can show that it matters.
const fence = `l.owner = $1 AND l.epoch = r.epoch`
