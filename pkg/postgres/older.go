package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// selectOlder names the transactions of the same login that are open. A transaction takes the lock on its own number before its snapshot,
// and gives it back at its end. Unlike the times of pg_stat_activity these locks are seen by every role.
const selectOlder = `
SELECT l.virtualxid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'virtualxid' AND l.granted AND l.mode = 'ExclusiveLock' AND a.datname = current_database() AND a.usename = session_user
    AND l.pid <> pg_backend_pid()`

const selectOpen = `
SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'virtualxid' AND granted AND mode = 'ExclusiveLock' AND virtualxid = ANY($1::text[]))`

const olderPoll = 20 * time.Millisecond

// AwaitOlder returns when no transaction of the same login is open that began before the call: whatever was committed before it is seen by
// all that go on. What is deleted after that, because of a mark that was committed before it, does not come back.
func AwaitOlder(ctx context.Context, pool *pgxpool.Pool) error {
	rows, err := pool.Query(ctx, selectOlder)
	if err != nil {
		return fmt.Errorf("look for older transactions: %w", err)
	}
	older, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for older transactions: %w", err)
	}
	ticker := time.NewTicker(olderPoll)
	defer ticker.Stop()
	for len(older) > 0 {
		var open bool
		if err := pool.QueryRow(ctx, selectOpen, older).Scan(&open); err != nil {
			return fmt.Errorf("wait for older transactions: %w", err)
		}
		if !open {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
