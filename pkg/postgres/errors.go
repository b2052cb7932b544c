package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"workflow.uniconnect/pkg/fault"
)

// ReasonDatabaseUnavailable is the reason of every fault that Classify makes.
const ReasonDatabaseUnavailable fault.Reason = "DATABASE_UNAVAILABLE"

const retryAfter = time.Second

// The error codes that are told apart, named as PostgreSQL's manual does.
const (
	codeReadOnlyTransaction   = "25006"
	codeSerialization         = "40001"
	codeDeadlock              = "40P01"
	codeUniqueViolation       = "23505"
	codeInvalidParameter      = "22023"
	codeInsufficientPrivilege = "42501"
	codeUndefinedObject       = "42704"
	codeDuplicateObject       = "42710"
	codeDuplicateSchema       = "42P06"
	codeLockNotAvailable      = "55P03"
	codeQueryCanceled         = "57014"
	codeAdminShutdown         = "57P01"
	codeCrashShutdown         = "57P02"
	codeCannotConnectNow      = "57P03"
	codeIdleInTransaction     = "25P03"
	classConnection           = "08"
	classDataException        = "22"
	codeUndefinedTable        = "42P01"
	codeCheckViolation        = "23514"
	classResources            = "53" // connections, memory, disk
	classProgramLimit         = "54"
	classSystem               = "58"
	classInternal             = "XX"
	codeInternal              = "XX000"
)

// Classify gives an error of the database its meaning for a caller: a fault of
// kind Unavailable when trying again later may help, else the error as it is.
// A cancelled context is not the database's doing and stays what it is; a
// deadline that passed inside a database call is.
func Classify(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := fault.As(err); ok {
		return err
	}
	if isRoleRefused(err) {
		return fault.Unavailable(ReasonDatabaseUnavailable, "the database does not let the service take its role: run the migrate verb").
			WithCause(err).WithRetryAfter(retryAfter)
	}
	if errors.Is(err, context.Canceled) || !isUnavailable(err) {
		return err
	}
	return unavailable(err)
}

func unavailable(err error) error {
	return fault.Unavailable(ReasonDatabaseUnavailable, "the database is not available").
		WithCause(err).WithRetryAfter(retryAfter)
}

func isUnavailable(err error) bool {
	if code := codeOf(err); code != "" {
		switch code {
		case codeSerialization, codeDeadlock, codeLockNotAvailable, codeQueryCanceled, codeIdleInTransaction:
			return true
		}
		return lostServer(code) || inClass(code, classResources, classSystem)
	}
	var connecting *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &connecting), errors.As(err, &network), pgconn.SafeToRetry(err), pgconn.Timeout(err):
		return true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, pgconn.ErrConnClosed):
		return true
	case errors.Is(err, puddle.ErrClosedPool):
		return true
	}
	return false
}

// lostServer reports whether a code means that this connection is of no more
// use: its server goes away, is not up yet, or is no primary any more.
func lostServer(code string) bool {
	switch code {
	case codeReadOnlyTransaction, codeAdminShutdown, codeCrashShutdown, codeCannotConnectNow:
		return true
	}
	return inClass(code, classConnection)
}

// IsUnique reports whether err is a violation of the named unique constraint or
// index; an empty name means any. Mind that a partition's index has its own name.
func IsUnique(err error, constraint string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == codeUniqueViolation &&
		(constraint == "" || pgErr.ConstraintName == constraint)
}

// IsDataError reports whether the rows of a statement are to blame: a value out
// of range, bytes that are no text, a violated check, a row too large. A batch
// that fails so is worth splitting until the bad row stands alone. Other
// violations of integrity do not count: a missing column or reference tells of a
// schema that does not fit the program, and blames every row alike.
func IsDataError(err error) bool {
	code := codeOf(err)
	return code == codeCheckViolation || code != "" && inClass(code, classDataException, classProgramLimit)
}

// CommitUnknown reports whether err left it open if the transaction was
// committed: the connection was lost between sending COMMIT and its answer. The
// caller must read back what it wrote; it must not assume either outcome.
func CommitUnknown(err error) bool {
	var unknown *commitUnknownError
	return errors.As(err, &unknown)
}

type commitUnknownError struct{ cause error }

func (e *commitUnknownError) Error() string {
	return "outcome of commit is unknown: " + e.cause.Error()
}
func (e *commitUnknownError) Unwrap() error { return e.cause }

// commitError tells a commit that certainly did not happen from one that may
// have. COMMIT was sent, so anything but an answer leaves it open.
func commitError(err error) error {
	definite := errors.Is(err, pgx.ErrTxCommitRollback) || errors.Is(err, pgx.ErrTxClosed)
	if code := codeOf(err); code != "" {
		// The server's own refusal is definite, unless it was going down.
		definite = !lostServer(code) && !inClass(code, classSystem, classInternal)
	}
	if definite {
		return fmt.Errorf("commit: %w", err)
	}
	return &commitUnknownError{cause: err}
}

func isRetryable(err error) bool {
	code := codeOf(err)
	return code == codeSerialization || code == codeDeadlock
}

// codeOf is the SQLSTATE in err's chain, empty when the server said nothing.
func codeOf(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

func inClass(code string, classes ...string) bool {
	for _, class := range classes {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return false
}
