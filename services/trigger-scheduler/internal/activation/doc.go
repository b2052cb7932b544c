// Package activation owns the promise that a change of a workflow takes effect at its commit: an event published after the catalog has
// answered a change is never missed, although replicas learn of the change later than that, and may be killed in between. It does not
// know how the catalog is watched, how the stream is read, or where watchers are kept.
//
// # Re-reading
//
// Whoever handles events with an index that lacks a change acks events that the change concerns. So when a Tracker is told of a
// change, it applies it to the index first and then reads the stream once more: from the change's effective time to the stream's last
// sequence of that moment, for that tenant and event type, starting what matches for the changed workflow. An event that was matched with the
// old index was pulled before the new one was in place, so it is within that span; an event pulled later sees the new index. Events
// between are met twice, which their start keys make harmless.
//
//	commit of the change          index updated    last sequence read
//	───────┼──────────────────────────┼────────────────┼──────────► stream
//	       └── matched with the old index ─┘             │
//	       └────────────── re-read ──────────────────────┘
//
// # Gates
//
// A tenant's gate is closed while its module is off or the tenant is suspended. Whether an event starts anything depends on what the gate was
// when the event was published, not on what it is when the event is handled: the index knows the times at which the gate was closed, as far
// back as events are kept. So what happens meanwhile starts nothing later, and what waited in the stream from before starts. When a gate opens,
// the stream is read again for all workflows of the tenant, as for a change of each. When it closes nothing has to be done; until the news of
// it has come starts may occur.
//
// # Being killed
//
// A process may be killed after it has acked such an event and before it has learned of the change. Its successor gets the change as part of
// a snapshot, where nothing tells it from old news. Therefore each process keeps a row, its watcher:
//
//	seen_through: every change committed before it has been applied and its re-read is done.
//
// The row exists before the first pull, seen_through only ever lags behind, and it is renewed every 2 s. A row that was not renewed for
// 30 s belongs to the dead: any other process takes it over, re-reads the stream from its seen_through for every workflow changed since,
// and only then deletes it. Changes that the heir itself does not know yet need no care: when it learns of them it re-reads from
// their effective time anyhow, and if it dies before that, its own row says so. A process that was merely frozen finds that its row is
// old, stops acking until it has renewed it, and so is covered by a row again whatever happens next.
//
// # When nothing is pulled
//
// Before the first snapshot there is no index, so no event is pulled. The same holds while the watch has been silent for 30 s, or the row
// could not be renewed for 20 s: events wait in the stream.
//
// # Clocks
//
// Effective times are the database's, publish times the NATS server's. Both hosts must keep time (NTP); a difference between them shifts
// the instant of activation by as much.
package activation
