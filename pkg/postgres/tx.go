package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	txAttempts      = 5
	txBackoff       = 5 * time.Millisecond
	rollbackTimeout = 2 * time.Second
)

// Beginner starts transactions; *pgxpool.Pool and *pgx.Conn do.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// InTx runs fn inside a transaction and commits it when fn returns nil. After a
// serialization failure or a deadlock it runs fn again in a new transaction, up
// to five times in all, so fn must not keep effects outside of tx. An error of
// fn or of the commit comes back as it is: Classify, IsUnique, IsDataError and
// CommitUnknown tell what it means.
func InTx(ctx context.Context, db Beginner, fn func(tx pgx.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := inTxOnce(ctx, db, fn)
		if err == nil || !isRetryable(err) {
			return err
		}
		if attempt == txAttempts {
			return fmt.Errorf("transaction lost %d times: %w", attempt, err)
		}
		// Those who collided must not meet again: full jitter over a span that doubles.
		if waitErr := wait(ctx, rand.N(txBackoff<<attempt)); waitErr != nil {
			return fmt.Errorf("%w while waiting to retry: %w", waitErr, err)
		}
	}
}

func inTxOnce(ctx context.Context, db Beginner, fn func(tx pgx.Tx) error) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	// After a commit this does nothing; it is here for errors and panics of fn.
	defer rollback(ctx, tx)
	if err := fn(tx); err != nil {
		return err
	}
	return commit(ctx, tx)
}

// commit rules out beforehand that nothing was sent: afterwards pgx cannot be
// asked. When the connection breaks while it waits for the answer, it reports
// "conn closed", which counts as safe to retry, as if COMMIT had never left.
func commit(ctx context.Context, tx pgx.Tx) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if tx.Conn().IsClosed() {
		return fmt.Errorf("commit: %w", pgconn.ErrConnClosed)
	}
	if err := tx.Commit(ctx); err != nil {
		return commitError(err)
	}
	return nil
}

// rollback works although ctx may have ended, to save the connection. When it
// cannot, pgx closes the connection and the server rolls back by itself.
func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	_ = tx.Rollback(ctx)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
